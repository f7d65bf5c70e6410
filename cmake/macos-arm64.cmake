# Tool-chain file: macOS on Apple silicon by zig's compiler, which brings the headers and the stubs of the system's
# libraries. FG_ZIG is a folder with zig-cc, zig-ar and zig-ranlib (scripts/check-macos makes them); FG_SYSROOT
# holds the libraries. What is built can be linked here and run on a Mac only.
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
set(FG_ZIG "" CACHE PATH "Folder with zig-cc, zig-ar, zig-ranlib")
set(FG_SYSROOT "" CACHE PATH "Folder with include and lib of the libraries")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES FG_ZIG FG_SYSROOT)
set(CMAKE_C_COMPILER ${FG_ZIG}/zig-cc)
set(CMAKE_AR ${FG_ZIG}/zig-ar CACHE FILEPATH "")
set(CMAKE_RANLIB ${FG_ZIG}/zig-ranlib CACHE FILEPATH "")
# There is no kit of Apple's here: the compiler knows where its headers are, and the wrapper names the target.
set(CMAKE_OSX_SYSROOT "" CACHE STRING "")
set(CMAKE_OSX_DEPLOYMENT_TARGET "" CACHE STRING "")
set(CMAKE_OSX_ARCHITECTURES "" CACHE STRING "")

set(CMAKE_FIND_ROOT_PATH ${FG_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} ${FG_SYSROOT}/lib/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "")
