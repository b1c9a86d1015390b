# `make demo` and `make test` work on a fresh Debian, Ubuntu or macOS: they install missing tools.
#
#   MODEL=DIR VIDEO=FILE PROMPT=TEXT make demo      use your own SAM3 model and video

SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)
COURTSIDE := target/release/courtside

.PHONY: demo test check bench build setup servers ui slurm-test image-test

setup:
	@scripts/install_tools.sh

# Install the S3 servers that tests start.
servers: setup
	@scripts/s3/install_s3_servers.sh

# Build the page that the program embeds.
ui: setup
	scripts/build_ui.sh

# Build the program only: the rest of the workspace is for tests.
build: ui
	cargo build --release --locked -p courtside

# Submit, track and import a clip of people, and print where the results are.
demo: build
	@COURTSIDE=$(COURTSIDE) MODEL="$(MODEL)" VIDEO="$(VIDEO)" PROMPT="$(PROMPT)" scripts/demo.sh

# Everything that CI runs. The second cargo line runs the modules at real size in bfloat16, the type that GPUs use; it
# reuses the build of the first, which it would not with `-p sam3`.
test: servers ui check
	cargo test --workspace --locked
	COURTSIDE_TEST_DEVICE=cpu cargo test --workspace --locked --lib real_shapes
	scripts/schemathesis.sh
	scripts/check_deploy.sh
	scripts/test_python.sh
	scripts/test_ui.sh
	$(MAKE) slurm-test
	tools/cuda-emulator/test.sh
	$(MAKE) image-test

# Track jobs on a Slurm cluster on this machine, with the program that `make test` has built.
slurm-test: setup
	scripts/test_slurm.sh

# Build the worker's image with the program that `make test` has built, and run it.
image-test: setup
	scripts/test_image.sh

check: setup
	scripts/check_wording.py --self-test
	scripts/check_wording.py
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# Time the stages of one frame on this machine; takes minutes at the real configuration.
bench: build
	$(COURTSIDE) bench --config tiny --tracks 0,1,5,12
	$(COURTSIDE) bench --config real --tracks 1
