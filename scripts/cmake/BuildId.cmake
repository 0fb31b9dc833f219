# Which build of the program this is: the library isobath_build_id holds one generated source with the git revision and the compiler.
# The revision is asked for in every build, for commits do not make CMake configure again; the source is written, and so compiled, only
# when its text changes.
#
# Run as a script (cmake -DOUTPUT=... -DSOURCE_DIR=... -DCOMPILER=... -P BuildId.cmake) it writes that source.

if(CMAKE_SCRIPT_MODE_FILE)
  set(revision "")
  # Without optional locks a build never gets in the way of a commit.
  execute_process(COMMAND git --no-optional-locks describe --always --dirty WORKING_DIRECTORY "${SOURCE_DIR}"
    OUTPUT_VARIABLE revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed OR revision STREQUAL "")
    set(revision unknown)
  endif()
  file(CONFIGURE OUTPUT "${OUTPUT}" @ONLY CONTENT [[
#include "trainer/run/build_id.h"

namespace isobath {

std::string build_revision() { return "@revision@"; }
std::string build_compiler() { return "@COMPILER@"; }

}  // namespace isobath
]])
  return()
endif()

set(build_id_source "${PROJECT_BINARY_DIR}/generated/build_id.cpp")
add_custom_target(isobath_revision BYPRODUCTS "${build_id_source}" VERBATIM
  COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${build_id_source}" "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}"
    "-DCOMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}" -P "${CMAKE_CURRENT_LIST_FILE}"
  COMMENT "asking git for the revision")
isobath_library(isobath_build_id SOURCES "${build_id_source}" LINKS isobath_core)
add_dependencies(isobath_build_id isobath_revision)
