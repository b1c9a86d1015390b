#!/usr/bin/env python3
"""Create or check the parity fixtures in `fixtures/`: see `scripts/README.md`.

    make_fixture.py wide               train a model, run the reference, write fixtures/wide
    make_fixture.py narrow --reuse     keep the model, run the reference again
    make_fixture.py narrow --check     run the reference again and compare with the stored outputs
    make_fixture.py narrow --bf16      print the difference between the reference in bfloat16 and in f32
    make_fixture.py real-shapes        single modules at the real configuration, weights by formula

Runs on a CPU. Uses no pretrained weights.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", choices=["wide", "narrow", "real-shapes"])
    parser.add_argument("--out", type=Path, help="folder to write (default: fixtures/NAME)")
    parser.add_argument("--reuse", action="store_true", help="do not train: use the stored model")
    parser.add_argument("--check", action="store_true", help="write nothing: compare with the stored outputs")
    parser.add_argument("--bf16", action="store_true", help="write nothing: run in bfloat16 and compare")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    out = args.out or FIXTURES / args.fixture

    import torch
    from transformers.utils import logging

    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    if args.fixture == "real-shapes":
        from parity import real_shapes

        if args.check:
            real_shapes.check(out)
        else:
            real_shapes.write(out)
        return

    from parity import checkpoint, replay
    from parity.specs import SPECS

    spec = SPECS[args.fixture]()
    if args.bf16:
        replay.compare_bf16(spec, out)
        return
    if not args.reuse and not args.check:
        model, tokenizer = checkpoint.build(spec)
        checkpoint.save(spec, model, tokenizer, out)
    if args.check:
        replay.check(spec, out)
    else:
        replay.write(spec, out)


if __name__ == "__main__":
    main()
