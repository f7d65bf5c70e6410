# Files as arrays of a C source: cmake -DOUT=page_files.c "-DFILES=page.html;page.css" -DHEADER=report/embedded.h -P embed.cmake
# A file NAME.EXT becomes fg_embedded_NAME_EXT, NUL-terminated, its length fg_embedded_NAME_EXT_length.
set(source "// Made by cmake/embed.cmake.\n#include \"${HEADER}\"\n")
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  string(MAKE_C_IDENTIFIER ${name} name)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "(....................................................................................................)" "\\1\n" bytes "${bytes}")
  string(APPEND source "const unsigned char fg_embedded_${name}[] = {\n${bytes}0};\n"
    "const size_t fg_embedded_${name}_length = sizeof fg_embedded_${name} - 1;\n")
endforeach()
file(WRITE ${OUT} "${source}")
