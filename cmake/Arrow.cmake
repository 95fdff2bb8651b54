# Arrow and Parquet for C++ out of the pyarrow wheel, as one small imported target.
#
# The wheel's libraries carry their version in their names and have no development links, so the newest
# of each is looked for; libparquet finds libarrow beside itself.
execute_process(
  COMMAND "${FTD_PYTHON}" -c "import sysconfig; print(sysconfig.get_paths()['purelib'])"
  OUTPUT_VARIABLE FTD_SITE_PACKAGES OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(FTD_ARROW_DIR "${FTD_SITE_PACKAGES}/pyarrow" CACHE PATH
    "Arrow C++: a folder with include/ and the libraries, these in it (the wheel) or in its lib/")
add_library(ftd_arrow_cpp INTERFACE)
foreach(library arrow parquet)
  file(GLOB found "${FTD_ARROW_DIR}/lib${library}.so.*" "${FTD_ARROW_DIR}/lib/lib${library}.so.*")
  if(NOT found OR NOT EXISTS "${FTD_ARROW_DIR}/include/arrow/api.h")
    message(FATAL_ERROR "No lib${library} in ${FTD_ARROW_DIR}. Run ./dev build, which installs it, or pass "
                        "-DFTD_PYTHON= an interpreter that has the pyarrow wheel, or -DFTD_ARROW_DIR=, or -DFTD_ARROW=OFF.")
  endif()
  list(SORT found COMPARE NATURAL ORDER DESCENDING)
  list(GET found 0 newest)
  get_filename_component(FTD_ARROW_RPATH "${newest}" DIRECTORY)
  target_link_libraries(ftd_arrow_cpp INTERFACE "${newest}")
endforeach()
target_include_directories(ftd_arrow_cpp SYSTEM INTERFACE "${FTD_ARROW_DIR}/include")
