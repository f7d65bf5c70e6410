# What is installed beside command and library: manual pages and completions, which are made from the built command's
# own tables of commands and options, and the documents.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
set(scripts ${PROJECT_SOURCE_DIR}/scripts)
set(made ${PROJECT_BINARY_DIR}/manual)
add_custom_command(OUTPUT ${made}/stamp
  COMMAND ${Python3_EXECUTABLE} -B ${scripts}/man-pages $<TARGET_FILE:flexgen> ${made}/man1
  COMMAND ${Python3_EXECUTABLE} -B ${scripts}/completions $<TARGET_FILE:flexgen> ${made}/completions
  COMMAND ${CMAKE_COMMAND} -E touch ${made}/stamp
  DEPENDS flexgen ${scripts}/command_table.py ${scripts}/man-pages ${scripts}/completions
    ${scripts}/completions.bash.in ${PROJECT_SOURCE_DIR}/docs/command-line.md
  COMMENT "Making manual pages and completions" VERBATIM)
add_custom_target(manual ALL DEPENDS ${made}/stamp)

install(DIRECTORY ${made}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
install(FILES ${made}/completions/flexgen DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${made}/completions/_flexgen DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES LICENSE README.md CHANGELOG.md CONTRIBUTING.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} USE_SOURCE_PERMISSIONS PATTERN __pycache__ EXCLUDE)
