# Build rules shared by all folders.
include(GNUInstallDirs)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

add_library(fg_flags INTERFACE)
target_compile_options(fg_flags INTERFACE
  -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla
  -Wformat=2 -Wundef -fno-math-errno -ffp-contract=off)
if(FG_WERROR)
  target_compile_options(fg_flags INTERFACE -Werror)
endif()
if(FG_SANITIZE)
  target_compile_options(fg_flags INTERFACE -fsanitize=${FG_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(fg_flags INTERFACE -fsanitize=${FG_SANITIZE})
endif()
target_include_directories(fg_flags INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(fg_flags INTERFACE _GNU_SOURCE FG_VERSION="${PROJECT_VERSION}")

# fg_layer(NAME [LIBS ...]): one object library a folder of src/; FG_LAYERS grows top to bottom and
# every layer sees the headers of the whole tree (scripts/check-layers forbids the wrong includes).
set_property(GLOBAL PROPERTY FG_LAYERS "")
function(fg_layer name)
  cmake_parse_arguments(A "" "" "LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.c)
  if(NOT sources)
    return()
  endif()
  get_property(above GLOBAL PROPERTY FG_LAYERS)
  add_library(fg_${name} STATIC ${sources})
  target_link_libraries(fg_${name} PRIVATE fg_flags PUBLIC ${above} ${A_LIBS} Threads::Threads m)
  set_property(GLOBAL PROPERTY FG_LAYERS fg_${name} ${above})
endfunction()

# fg_test(LAYER): every tests/<layer>/test_*.c is a cmocka program that links its layer and those above.
function(fg_tests layer)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${layer}/test_*.c)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${layer}_${name} ${source})
    target_link_libraries(${layer}_${name} PRIVATE fg_flags fg_${layer} PkgConfig::CMOCKA)
    target_compile_definitions(${layer}_${name} PRIVATE FG_TEST_DIR="${PROJECT_SOURCE_DIR}/tests")
    add_test(NAME ${layer}/${name} COMMAND ${layer}_${name})
  endforeach()
endfunction()
