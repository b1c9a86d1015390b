# `make demo` and `make test` do everything on a fresh Debian, Ubuntu or macOS.
# MODEL=folder of a SAM3 checkpoint, VIDEO=file: to use your own in the demo.

SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)
COURTSIDE := target/release/courtside

.PHONY: demo test check bench setup servers

setup:
	@scripts/install_tools.sh

# The S3 servers that tests start.
servers: setup
	@scripts/s3/install_s3_servers.sh

# Submits, tracks and imports a clip, and says where everything lies.
demo: setup
	cargo build --release --locked
	@COURTSIDE=$(COURTSIDE) MODEL="$(MODEL)" VIDEO="$(VIDEO)" scripts/demo.sh

# What the continuous integration runs. The second line of tests: modules at real size in the arithmetic of GPUs.
test: servers check
	cargo test --workspace --locked
	COURTSIDE_TEST_DEVICE=cpu cargo test --workspace --locked --lib real_shapes
	scripts/schemathesis.sh
	tools/cuda-emulator/test.sh

check:
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# One frame's stages on this machine; minutes at the real configuration.
bench: setup
	cargo build --release --locked
	$(COURTSIDE) bench --config tiny --objects 0,1,5,12
	$(COURTSIDE) bench --config real --objects 1
