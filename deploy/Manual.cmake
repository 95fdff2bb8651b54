# Manual pages and shells' completions. Each program writes its own, from the tables of its --help, when it is built.
set(FTD_MANUAL "${CMAKE_BINARY_DIR}/manual")

function(ftd_manual program section)
  set(files "${program}.${section}" "${program}.bash" "${program}.zsh" "${program}.fish")
  list(TRANSFORM files PREPEND "${FTD_MANUAL}/")
  set(commands)
  foreach(pair "man ${section}" "bash bash" "zsh zsh" "fish fish")
    separate_arguments(pair)
    list(GET pair 0 kind)
    list(GET pair 1 extension)
    list(APPEND commands COMMAND ${program} --generate ${kind}
                                 > "${FTD_MANUAL}/${program}.${extension}")
  endforeach()
  add_custom_command(OUTPUT ${files} COMMAND ${CMAKE_COMMAND} -E make_directory "${FTD_MANUAL}" ${commands}
                     DEPENDS ${program} VERBATIM COMMENT "Manual page and completions of ${program}")
  add_custom_target(${program}-manual ALL DEPENDS ${files})
  install(FILES "${FTD_MANUAL}/${program}.${section}" DESTINATION share/man/man${section})
  install(FILES "${FTD_MANUAL}/${program}.bash" DESTINATION share/bash-completion/completions RENAME ${program})
  install(FILES "${FTD_MANUAL}/${program}.zsh" DESTINATION share/zsh/site-functions RENAME _${program})
  install(FILES "${FTD_MANUAL}/${program}.fish" DESTINATION share/fish/vendor_completions.d)
endfunction()

ftd_manual(ftctl 1)
ftd_manual(ftd 8)
if(TARGET ft-worker)
  ftd_manual(ft-worker 1)
  ftd_manual(ft-train 1)
endif()
