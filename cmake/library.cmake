# The library beside the command: all layers as one shared object that shows the public API only
# (include/flexgen), with its pkg-config file.
get_property(layers GLOBAL PROPERTY FG_LAYERS)
# The public API downloads and serves nothing, so nobody has to load what that takes.
list(REMOVE_ITEM layers fg_hub fg_serve)
if(TARGET fg_job)
  file(CONFIGURE OUTPUT library.c CONTENT "extern int fg_all_code_stands_in_the_layers;\n")
  add_library(flexgen_library SHARED ${PROJECT_BINARY_DIR}/library.c)
  set_target_properties(flexgen_library PROPERTIES
    OUTPUT_NAME flexgen LINKER_LANGUAGE C VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR} LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/library.map)
  if(APPLE) # zig's linker cannot be told to take whole archives: it gets what is in them
    list(TRANSFORM layers REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
    target_sources(flexgen_library PRIVATE ${objects})
  else()
    list(JOIN layers "," all_layers)
    set_target_properties(flexgen_library PROPERTIES LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,${all_layers}")
  endif()
  target_link_libraries(flexgen_library PRIVATE fg_flags ${layers})
  if(APPLE)
    # The same names, as the linker of macOS takes them.
    file(STRINGS cmake/library.map names REGEX "^ *fg_[a-z0-9_]*;")
    list(TRANSFORM names REPLACE "^ *(fg_[a-z0-9_]*);.*" "_\\1")
    list(JOIN names "\n" names)
    file(CONFIGURE OUTPUT exported_symbols CONTENT "${names}\n")
    target_link_options(flexgen_library PRIVATE -Wl,-exported_symbols_list,${PROJECT_BINARY_DIR}/exported_symbols)
  else()
    if(NOT FG_SANITIZE)
      target_link_options(flexgen_library PRIVATE -Wl,--no-undefined)
    endif()
    target_link_options(flexgen_library PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/library.map)
  endif()
  target_include_directories(flexgen_library INTERFACE ${PROJECT_SOURCE_DIR}/include)

  file(RELATIVE_PATH FG_PC_TO_PREFIX
    ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  string(REGEX REPLACE "/$" "" FG_PC_TO_PREFIX ${FG_PC_TO_PREFIX})
  configure_file(cmake/flexgen.pc.in flexgen.pc @ONLY)
  install(TARGETS flexgen_library LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY include/flexgen DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(FILES ${PROJECT_BINARY_DIR}/flexgen.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

  # The example is a program of somebody else: it sees the public headers and the shared object. Its answer is the
  # golden's (tests/oracle/goldens/llama-gqa.json, prompt of 7 tokens).
  add_executable(example_tokens examples/tokens.c)
  target_link_libraries(example_tokens PRIVATE flexgen_library)
  if(FG_SANITIZE)
    target_link_options(example_tokens PRIVATE -fsanitize=${FG_SANITIZE})
  endif()
  add_test(NAME library/example_tokens
    COMMAND example_tokens ${PROJECT_SOURCE_DIR}/tests/oracle/models/llama-gqa ${PROJECT_BINARY_DIR}
      182 327 311 226 136 74 224)
  set_tests_properties(library/example_tokens PROPERTIES
    PASS_REGULAR_EXPRESSION "^122 122 122 319 105 320 319 232 122 298 208 249 242 330 319 319\n$")
endif()
