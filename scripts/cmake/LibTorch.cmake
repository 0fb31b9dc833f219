# Finds a LibTorch and offers it as isobath::torch.
#
# The package file that comes with LibTorch (find_package(Torch)) insists on a CUDA toolkit when the wheel was built with CUDA, and
# links libtorch.so, which drags all of CUDA into a process that may never use it. So: own imported targets for libtorch_cpu.so and
# libc10.so, nothing else. They come with every LibTorch, with or without CUDA.
#
# Search order: -DTorch_DIR=..., CMAKE_PREFIX_PATH (variable or environment; a LibTorch folder, a wheel's torch/ or torch/share/cmake,
# or a virtual environment), the active Python's torch, then the project's own .venv (made by scripts/setup.sh).

# `cmake -P LibTorch.cmake` prints (on stderr) which one a build would take, or fails: scripts/setup.sh asks this before it downloads one.

get_filename_component(ISOBATH_VENV "${CMAKE_CURRENT_LIST_DIR}/../../.venv" ABSOLUTE)

# Sets `result` to the LibTorch root that `path` lies in or holds, or to "".
function(isobath_torch_root path result)
  set(candidates "${path}" "${path}/../.." "${path}/../../.." "${path}/libtorch" "${path}/torch")
  file(GLOB site_packages "${path}/lib/python3*/site-packages/torch")
  list(APPEND candidates ${site_packages})
  foreach(candidate IN LISTS candidates)
    if(EXISTS "${candidate}/lib/libtorch_cpu.so" AND EXISTS "${candidate}/include/ATen/core/Tensor.h")
      file(REAL_PATH "${candidate}" root)
      set(${result} "${root}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(${result} "" PARENT_SCOPE)
endfunction()

# Where `python` has its torch, without importing it (which would take seconds).
function(isobath_torch_of_python python result)
  execute_process(
    COMMAND "${python}" -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(root "")
  if(folder)
    isobath_torch_root("${folder}" root)
  endif()
  set(${result} "${root}" PARENT_SCOPE)
endfunction()

function(isobath_find_torch result)
  set(places ${Torch_DIR} $ENV{Torch_DIR} ${CMAKE_PREFIX_PATH})
  string(REPLACE ":" ";" from_environment "$ENV{CMAKE_PREFIX_PATH}")
  list(APPEND places ${from_environment})
  foreach(place IN LISTS places)
    isobath_torch_root("${place}" root)
    if(root)
      break()
    endif()
  endforeach()
  if(Torch_DIR AND NOT root)
    message(FATAL_ERROR "Torch_DIR=${Torch_DIR} holds no LibTorch (lib/libtorch_cpu.so and include/ATen were looked for)")
  endif()
  if(NOT root)
    find_program(ISOBATH_ACTIVE_PYTHON NAMES python3 python)
    mark_as_advanced(ISOBATH_ACTIVE_PYTHON)
    if(ISOBATH_ACTIVE_PYTHON)
      isobath_torch_of_python("${ISOBATH_ACTIVE_PYTHON}" root)
    endif()
  endif()
  if(NOT root)
    isobath_torch_root("${ISOBATH_VENV}" root)
  endif()
  if(NOT root)
    message(FATAL_ERROR
      "No LibTorch found. Any of these helps:\n"
      "  scripts/setup.sh                                (installs one into .venv)\n"
      "  cmake --preset release -DTorch_DIR=/path/to/libtorch/share/cmake/Torch\n"
      "  activate a Python environment that has torch, then configure again")
  endif()
  set(${result} "${root}" PARENT_SCOPE)
endfunction()

isobath_find_torch(ISOBATH_TORCH_ROOT)

if(CMAKE_SCRIPT_MODE_FILE)
  message("${ISOBATH_TORCH_ROOT}")
  return()
endif()

set(isobath_torch_version "")
file(GLOB_RECURSE headers "${ISOBATH_TORCH_ROOT}/include/torch/headeronly/version.h" "${ISOBATH_TORCH_ROOT}/include/torch/csrc/api/include/torch/version.h")
foreach(part IN ITEMS MAJOR MINOR PATCH)
  foreach(header IN LISTS headers)
    file(STRINGS "${header}" line REGEX "define TORCH_VERSION_${part} [0-9]+")
    if(line)
      string(REGEX REPLACE ".* ([0-9]+).*" "\\1" number "${line}")
      list(APPEND isobath_torch_version ${number})
      break()
    endif()
  endforeach()
endforeach()
list(JOIN isobath_torch_version "." isobath_torch_version)
if(EXISTS "${ISOBATH_TORCH_ROOT}/share/cmake/Torch/TorchConfig.cmake")
  file(STRINGS "${ISOBATH_TORCH_ROOT}/share/cmake/Torch/TorchConfig.cmake" old_abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
  if(old_abi)
    message(FATAL_ERROR "${ISOBATH_TORCH_ROOT} was built with the pre-C++11 ABI; take the \"cxx11 ABI\" LibTorch or a wheel >= 2.7")
  endif()
endif()
message(STATUS "LibTorch ${isobath_torch_version}: ${ISOBATH_TORCH_ROOT}")

# at::parallel_for is a header: without OpenMP it silently runs on one thread. The flag, not the library's path: at run time
# the libgomp that LibTorch itself loaded serves both.
find_package(OpenMP REQUIRED COMPONENTS CXX)

foreach(library IN ITEMS c10 torch_cpu)
  add_library(isobath::${library} SHARED IMPORTED)
  set_target_properties(isobath::${library} PROPERTIES IMPORTED_LOCATION "${ISOBATH_TORCH_ROOT}/lib/lib${library}.so")
endforeach()

add_library(isobath::torch INTERFACE IMPORTED)
target_link_libraries(isobath::torch INTERFACE isobath::torch_cpu isobath::c10)
target_compile_definitions(isobath::torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
target_compile_options(isobath::torch INTERFACE ${OpenMP_CXX_FLAGS})
target_link_options(isobath::torch INTERFACE ${OpenMP_CXX_FLAGS})
# -idirafter: LibTorch's folder carries its own fmt, which must not come before the system's.
target_compile_options(isobath::torch INTERFACE
  "SHELL:-idirafter ${ISOBATH_TORCH_ROOT}/include"
  "SHELL:-idirafter ${ISOBATH_TORCH_ROOT}/include/torch/csrc/api/include")
# A CUDA build of libtorch_cpu.so needs a few small CUDA libraries, which wheels keep next to torch/.
file(GLOB cuda_folders "${ISOBATH_TORCH_ROOT}/../nvidia/*/lib")
foreach(folder IN LISTS cuda_folders)
  file(REAL_PATH "${folder}" folder)
  target_link_options(isobath::torch INTERFACE "LINKER:-rpath-link,${folder}")
endforeach()
