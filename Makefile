# Thin: CMake builds, scripts do the rest.
#
#   make          the command and the library, in build/
#   make setup    installs the Debian packages that are missing (root or sudo)
#   make demo     a real model answers a real batch in less memory than its size
#   make check    build, unit tests, goldens: what CI runs
#   make check-full  all of that under sanitizers, long fuzzing, kills, memory limits
#   make bench    the scoreboard, ten minutes; FULL=1 everything, KEEP=1 kept under bench/results
#   make install  PREFIX=/usr/local, DESTDIR=; make uninstall removes what it installed
#   make fmt lint clean
BUILD ?= build
BUILD_TYPE ?= RelWithDebInfo
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)

.PHONY: all setup demo check check-full bench install uninstall fmt lint clean

all:
	@scripts/setup --missing build
	@cmake -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) -DCMAKE_INSTALL_PREFIX=$(PREFIX) \
	  -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
	@cmake --build $(BUILD) -j $(JOBS)

setup:
	@scripts/setup build run lint

demo:
	@scripts/demo

check:
	@scripts/check

check-full:
	@scripts/check-full

bench: all
	@bench/run --build $(BUILD) $(if $(FULL),--full) $(if $(KEEP),--keep)

install: all
	@cmake --install $(BUILD)

uninstall:
	@scripts/uninstall $(BUILD)

fmt:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

lint: all
	@scripts/check-tidy $(BUILD)

clean:
	@rm -rf $(BUILD) build-asan build-tsan build-python demo-out
