# Tool-chain file: 64-bit ARM Linux by Debian's cross compiler, tests by qemu-user. All libraries are those of a
# folder that looks like a Debian root (scripts/check-aarch64 makes one):
#
#   cmake -S . -B build-aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux.cmake -DFG_SYSROOT=FOLDER
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

set(FG_SYSROOT "" CACHE PATH "Folder with the system's and the libraries' usr/include and usr/lib")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES FG_SYSROOT)
set(CMAKE_SYSROOT ${FG_SYSROOT})
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${FG_SYSROOT}) # QEMU_CPU in the environment chooses the CPU

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} ${FG_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${FG_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${FG_SYSROOT})
