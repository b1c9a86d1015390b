/** Clips in which every frame shows its number as a bar code, painted as the tests of the crate `video` do. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import type { Page } from "playwright-core";

const [WIDTH, HEIGHT, BITS] = [320, 240, 12];
const [DARK, LIGHT] = [40, 210];

/** Twelve columns: in the upper half the bits of the number, light for 1; in the lower half inverted. */
function paint(number: number): Uint8Array {
    const image = new Uint8Array(WIDTH * HEIGHT);
    for (let y = 0; y < HEIGHT; y++) {
        for (let x = 0; x < WIDTH; x++) {
            const bit = ((number >> Math.floor((x * BITS) / WIDTH)) & 1) === 1;
            image[y * WIDTH + x] = bit === y < HEIGHT / 2 ? LIGHT : DARK;
        }
    }
    return image;
}

/** Encode bar codes 0 to `frames` − 1 at 25 frames per second. `options` are separated by spaces. */
export async function makeClip(path: string, frames: number, options: string): Promise<void> {
    const input = `-v error -y -f rawvideo -pix_fmt gray -r 25 -s ${WIDTH}x${HEIGHT} -i pipe:0`;
    const child = spawn("ffmpeg", [...input.split(" "), ...options.split(" "), path], {
        stdio: ["pipe", "inherit", "inherit"],
    });
    for (let number = 0; number < frames; number++) {
        if (!child.stdin.write(paint(number))) await once(child.stdin, "drain");
    }
    child.stdin.end();
    const [code] = (await once(child, "exit")) as [number];
    if (code !== 0) throw new Error(`ffmpeg cannot make ${path} with ${options}`);
}

/** Run ffmpeg with arguments that are separated by spaces. */
export async function ffmpeg(args: string): Promise<void> {
    const child = spawn("ffmpeg", ["-v", "error", "-y", ...args.split(" ")], { stdio: "inherit" });
    const [code] = (await once(child, "exit")) as [number];
    if (code !== 0) throw new Error(`ffmpeg ${args} failed`);
}

/** Turn an MP4 clockwise by 90 degrees: by the matrix in its track header (ISO/IEC 14496-12). */
export function turn(path: string): void {
    const bytes = readFileSync(path);
    const at = bytes.indexOf("tkhd") + 44;
    [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30].forEach((value, i) =>
        bytes.writeInt32BE(value, at + 4 * i),
    );
    writeFileSync(path, bytes);
}

/** What the canvas of a game shows: the number in the picture, or null, and the frame whose boxes are drawn over it. */
export async function readCanvas(
    page: Page,
    isTurned = false,
    /** Width over height of the picture, as it is shown. */
    shape = isTurned ? HEIGHT / WIDTH : WIDTH / HEIGHT,
): Promise<{ number: number | null; frame: number }> {
    return page.evaluate(
        ([bits, turned, shape]) => {
            const canvas = document.querySelector<HTMLCanvasElement>(".stage canvas")!;
            const context = canvas.getContext("2d")!;
            const width = Math.min(canvas.width, canvas.height * shape);
            const [left, top] = [(canvas.width - width) / 2, (canvas.height - width / shape) / 2];
            const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
            const isLight = (x: number, y: number) => {
                const [u, v] = turned ? [1 - y, x] : [x, y];
                const column = Math.floor(left + u * width);
                const row = Math.floor(top + (v * width) / shape);
                return pixels[(row * canvas.width + column) * 4 + 1]! > 125;
            };
            let number: number | null = 0;
            for (let bit = 0; bit < bits; bit++) {
                const x = (bit + 0.5) / bits;
                const upper = isLight(x, 0.25);
                if (upper === isLight(x, 0.75)) number = null;
                else if (number !== null) number |= (upper ? 1 : 0) << bit;
            }
            return { number, frame: Number(canvas.dataset.frame) };
        },
        [BITS, isTurned, shape] as const,
    );
}
