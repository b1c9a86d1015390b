/** The picture on the screen is the one whose boxes are drawn over it, for every kind of file. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { ffmpeg, makeClip, readCanvas, turn } from "./barcode.ts";
import { launch, open, TestServer, waitForFrame } from "./server.ts";

const N_FRAMES = 260;
const N_SEEKS = 50;
const N_STEPS = 200;
const H264 = "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 50";
const HEVC = "-pix_fmt yuv420p -c:v libx265 -x265-params log-level=error -tag:v hvc1";

interface Clip {
    file: string;
    make: (path: string) => Promise<void>;
    /** The number painted into the first frame. */
    offset?: number;
    isTurned?: boolean;
    /** Width over height of the picture, where pixels are not square. */
    shape?: number;
    /** Whether the browser cannot play it, so that frames are shown as images. */
    isImages?: boolean;
}

const CLIPS: Clip[] = [
    { file: "constant.mp4", make: (path) => makeClip(path, N_FRAMES, H264) },
    {
        file: "variable.mp4",
        make: (path) =>
            makeClip(path, N_FRAMES, `-vf setpts=(N*4+mod(N*N\\,3))/(100*TB) -fps_mode passthrough ${H264}`),
    },
    {
        file: "rotated.mp4",
        isTurned: true,
        make: async (path) => {
            await makeClip(path, N_FRAMES, H264);
            turn(path);
        },
    },
    {
        file: "cut.mp4",
        offset: 33,
        make: async (path) => {
            await makeClip(`${path}.whole.mp4`, N_FRAMES + 33, H264);
            await ffmpeg(`-ss 1.32 -i ${path}.whole.mp4 -c copy ${path}`);
        },
    },
    {
        file: "wide-pixels.mp4",
        shape: 16 / 9,
        make: (path) => makeClip(path, N_FRAMES, `-vf setsar=4/3 ${H264}`),
    },
    { file: "old.avi", isImages: true, make: (path) => makeClip(path, N_FRAMES, "-c:v mpeg4 -q:v 4") },
    { file: "hevc.mp4", isImages: true, make: (path) => makeClip(path, N_FRAMES, HEVC) },
];

const server = new TestServer();
const ids = new Map<string, number>();
let browser: Browser;

before(async () => {
    for (const clip of CLIPS) {
        await clip.make(server.path(clip.file));
        ids.set(clip.file, server.add(clip.file));
    }
    await server.start();
    browser = await launch();
});

after(async () => {
    await browser?.close();
    server.close();
});

for (const clip of CLIPS) {
    test(`${clip.file}: the boxes belong to the picture after ${N_SEEKS} seeks and ${N_STEPS} steps`, async () => {
        const { page } = await open(browser, `${server.address}/#/videos/${ids.get(clip.file)}`);
        const check = async (frame: number) => {
            await waitForFrame(page, frame);
            const seen = await readCanvas(page, clip.isTurned, clip.shape);
            assert.deepEqual(seen, { number: frame + (clip.offset ?? 0), frame });
        };
        await check(0);
        assert.equal(await page.locator("text=shown as images").count(), clip.isImages ? 1 : 0);
        const random = generator(clip.file.length);
        for (let i = 0; i < N_SEEKS; i++) await check(await seek(page, random()));
        let frame = await seek(page, 0.2);
        await check(frame);
        for (let i = 0; i < N_STEPS; i++) {
            const isForward = random() < 0.75 || frame < 2;
            await page.keyboard.press(isForward ? "ArrowRight" : "ArrowLeft");
            frame = Math.min(N_FRAMES - 1, frame + (isForward ? 1 : -1));
            await check(frame);
        }
        await page.context().close();
    });
}

test("while a video plays, boxes stay with their pictures", async () => {
    const { page } = await open(browser, `${server.address}/#/videos/${ids.get("constant.mp4")}`);
    await waitForFrame(page, 0);
    await page.getByRole("button", { name: "Play" }).click();
    const seen = new Set<number>();
    for (let i = 0; i < 60; i++) {
        const { number, frame } = await readCanvas(page);
        assert.equal(number, frame);
        seen.add(frame);
        await page.waitForTimeout(40);
    }
    assert.ok(seen.size > 10, `only ${seen.size} frames in 2.4 seconds`);
    await page.context().close();
});

/** Enter the number of a frame. Returns it. */
async function seek(page: Page, share: number): Promise<number> {
    const frame = Math.floor(share * N_FRAMES);
    const field = page.getByRole("spinbutton", { name: "Frame" });
    await field.fill(String(frame));
    await field.press("Enter");
    return frame;
}

/** Numbers from 0 to 1 that are the same in every run (Park and Miller 1988). */
function generator(seed: number): () => number {
    let state = seed;
    return () => (state = (state * 48271) % 2147483647) / 2147483647;
}
