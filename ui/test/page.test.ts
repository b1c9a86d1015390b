/** What people do with the page: find a game, look at its tracks, log in; and what must not happen. */

import assert from "node:assert/strict";
import { copyFileSync, readFileSync, renameSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, open, TestServer, waitForFrame, type Detection } from "./server.ts";

const CLIP = "../fixtures/people/clip.mp4";
const HOSTILE = "<img src=x onerror=document.title='hacked'>.mp4";
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const server = new TestServer();
let browser: Browser;
let game = 0;
let hostile = 0;

before(async () => {
    copyFileSync(CLIP, server.path("game.mp4"));
    copyFileSync("../fixtures/wide/clip.mkv", server.path(HOSTILE));
    game = server.add("game.mp4");
    hostile = server.add(HOSTILE);
    server.insert(game, people());
    await server.start();
    browser = await launch();
});

after(async () => {
    await browser?.close();
    server.close();
});

/** What the reference implementation finds in the first frames of the clip. */
function people(): Detection[] {
    const { offline } = JSON.parse(readFileSync("../fixtures/people/reference.json", "utf8")) as {
        offline: number[][][];
    };
    return offline.flatMap((found, frame) =>
        found.map(([id, left, top, right, bottom, score]): Detection => {
            return [frame, id!, left!, top!, right! - left!, bottom! - top!, score!];
        }),
    );
}

function address(path: string): string {
    return `${server.address}/#/${path}`;
}

/** What axe-core finds wrong with the page (WCAG 2.2 A and AA). */
async function violations(page: Page): Promise<string[]> {
    const isolated = await page.context().newCDPSession(page);
    // The policy of the page forbids scripts from elsewhere, so that the checker runs through the debugger.
    await isolated.send("Runtime.evaluate", { expression: AXE });
    const { result } = await isolated.send("Runtime.evaluate", {
        expression:
            "axe.run().then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html).join(' ')))",
        awaitPromise: true,
        returnByValue: true,
    });
    return result.value as string[];
}

for (const colorScheme of ["light", "dark"] as const) {
    for (const width of [1440, 820]) {
        test(`every page is accessible, ${colorScheme}, ${width} pixels wide`, async () => {
            const { page, complaints } = await open(browser, address(""), {
                colorScheme,
                viewport: { width, height: 900 },
            });
            await page.getByText("game.mp4").waitFor();
            assert.deepEqual(await violations(page), []);
            await page.getByRole("button", { name: "Track…" }).first().click();
            await page.getByRole("dialog").waitFor();
            assert.deepEqual(await violations(page), []);
            await page.goto(address(`videos/${game}`));
            await waitForFrame(page, 0);
            assert.deepEqual(await violations(page), []);
            const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            assert.ok(overflow <= 0, `the page is ${overflow} pixels too wide`);
            await page.goto(address("jobs"));
            await page.getByRole("button", { name: "Log" }).first().waitFor();
            assert.deepEqual(await violations(page), []);
            assert.deepEqual(complaints, []);
            await page.context().close();
        });
    }
}

test("a click on a box chooses its track everywhere", async () => {
    const { page, complaints } = await open(browser, address(`videos/${game}`));
    await waitForFrame(page, 0);
    await page.keyboard.press("l");
    await waitForFrame(page, 10);
    const box = people().find(([frame]) => frame === 10)!;
    const [, id, left, top, width, height] = box;
    const canvas = page.locator(".stage canvas");
    const area = (await canvas.boundingBox())!;
    const scale = Math.min(area.width / 768, area.height / 576);
    await canvas.click({
        position: {
            x: area.width / 2 + (left + width / 2 - 384) * scale,
            y: area.height / 2 + (top + height / 2 - 288) * scale,
        },
    });
    const chosen = page.locator(".track[aria-pressed=true]");
    assert.equal(await chosen.locator("strong").textContent(), String(id));
    await page.keyboard.press("Escape");
    assert.equal(await chosen.count(), 0);
    await page.keyboard.press("?");
    await page.getByRole("dialog").getByText("play or pause").waitFor();
    assert.deepEqual(complaints, []);
    await page.context().close();
});

test("tracks are named, merged, split, swapped and deleted, with undo and redo, in all windows", async () => {
    const { page, complaints } = await open(browser, address(`videos/${game}`));
    const other = await open(browser, address(`videos/${game}`));
    await waitForFrame(page, 0);
    const rows = page.locator(".tracks .track");
    const ids = () => rows.locator("strong").allTextContents();
    const row = (name: string) => rows.filter({ has: page.getByText(name, { exact: true }) });
    const before = await ids();
    const [first, second] = before as [string, string];
    // Bring the track to one half of its frames, and name what it has there.
    await row(first).click();
    await page.getByLabel("Name", { exact: true }).fill(HOSTILE);
    await page.getByRole("button", { name: "Save" }).click();
    await row(HOSTILE).waitFor();
    await other.page.getByText(HOSTILE, { exact: true }).first().waitFor();
    await page.keyboard.press("l");
    await waitForFrame(page, 10);
    await page.getByRole("button", { name: "Split here" }).click();
    await page.getByText(`${before.length + 1} tracks`).waitFor();
    // The two halves are on no frame together, so that they can be merged again.
    const half = (await ids()).find((id) => !before.includes(id) && id !== HOSTILE)!;
    await page.getByRole("button", { name: "Merge with…" }).click();
    await row(half).click();
    await page.getByText(`${before.length} tracks`).waitFor();
    // Two people are not.
    await page.getByRole("button", { name: "Merge with…" }).click();
    await row(second).click();
    await page.getByText("they are two players").waitFor();
    await page.getByRole("button", { name: "Swap from here…" }).click();
    await row(second).click();
    await page.getByText("4 edits").waitFor();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByText(`${before.length - 1} tracks`).waitFor();
    for (let i = 0; i < 5; i++) {
        await page.keyboard.press("Control+z");
        await page.getByText(i === 3 ? "1 edit" : `${4 - i} edits`, { exact: true }).waitFor();
    }
    assert.deepEqual(await ids(), before);
    await page.keyboard.press("Control+Shift+Z");
    await row(HOSTILE).waitFor();
    assert.equal(await page.title(), "Courtside");
    // What the refused merge answered is the only complaint.
    assert.deepEqual(
        complaints.filter((text) => !text.includes("409")),
        [],
    );
    await page.keyboard.press("Control+z");
    await page.getByText("0 edits", { exact: true }).waitFor();
    await other.page.context().close();
    await page.context().close();
});

test("markup in the name of a file is text", async () => {
    const { page, complaints } = await open(browser, address(""));
    await page.getByText(HOSTILE).waitFor();
    await page.goto(address(`videos/${hostile}`));
    await page.getByRole("heading", { name: HOSTILE }).waitFor();
    assert.equal(await page.title(), "Courtside");
    assert.deepEqual(complaints, []);
    await page.context().close();
});

test("a video whose file and copy in the bucket have vanished says so", async () => {
    const names = ["game.mp4", "basketball-analyzer"];
    for (const name of names) renameSync(server.path(name), server.path(`${name}.moved`));
    const { page } = await open(browser, address(`videos/${game}`));
    try {
        const problem = page.getByRole("alert");
        await problem.waitFor();
        assert.match((await problem.textContent())!, /file/);
    } finally {
        for (const name of names) renameSync(server.path(`${name}.moved`), server.path(name));
        await page.context().close();
    }
});

test("a server that goes away is noticed, and so is its return", async () => {
    const other = new TestServer();
    await other.start();
    const { page } = await open(browser, `${other.address}/#/jobs`);
    await page.getByText("No jobs yet").waitFor();
    await page.route("**/api/**", (route) => route.abort());
    await page.getByText("The server does not answer").waitFor();
    await page.unroute("**/api/**");
    await page.getByText("The server does not answer").waitFor({ state: "detached" });
    await page.context().close();
    other.close();
});

test("a server with a token wants it once", async () => {
    const token = "a-long-token-of-32-characters-ab";
    const guarded = new TestServer(token);
    copyFileSync(CLIP, guarded.path("game.mp4"));
    const id = guarded.add("game.mp4");
    await guarded.start();
    const { page } = await open(browser, `${guarded.address}/#/videos/${id}`);
    await page.getByLabel("Token").fill("guess");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("This is not the server's token.").waitFor();
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Log in" }).click();
    await waitForFrame(page, 0);
    await page.reload();
    await waitForFrame(page, 0);
    const cookies = await page.context().cookies();
    assert.deepEqual(
        cookies.map(({ httpOnly, sameSite }) => ({ httpOnly, sameSite })),
        [{ httpOnly: true, sameSite: "Strict" }],
    );
    await page.context().close();
    guarded.close();
});

test("a page of another origin neither reads nor frames this one", async () => {
    const foreign = new TestServer();
    await foreign.start();
    const { page } = await open(browser, `${foreign.address}/docs/`);
    const read = await page.evaluate(
        (url) =>
            fetch(`${url}/api/videos`).then(
                () => "read",
                () => "refused",
            ),
        server.address,
    );
    assert.equal(read, "refused");
    const deleted = await page.evaluate(
        (url) =>
            fetch(`${url}/api/videos/1`, { method: "DELETE", mode: "no-cors" }).then(
                () => "sent",
                () => "refused",
            ),
        server.address,
    );
    assert.ok(["sent", "refused"].includes(deleted));
    assert.equal((await fetch(`${server.address}/api/videos/${game}`)).status, 200);
    const response = await fetch(`${server.address}/`);
    assert.match(response.headers.get("content-security-policy")!, /frame-ancestors 'none'/);
    await page.context().close();
    foreign.close();
});
