/** A real server with a library in a folder of its own, and a browser that shows its page. */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";

const PROGRAM = resolve(process.env["COURTSIDE"] ?? "../target/debug/courtside");
const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/** A detection: frame, track, left, top, width, height, confidence. */
export type Detection = [number, number, number, number, number, number, number];

export class TestServer {
    readonly folder = mkdtempSync(join(tmpdir(), "courtside-ui-"));
    address = "";
    private process: ChildProcess | null = null;
    private readonly env: NodeJS.ProcessEnv;

    constructor(token?: string) {
        this.env = { PATH: process.env["PATH"], HOME: this.folder };
        if (token) this.env["COURTSIDE_TOKEN"] = token;
    }

    run(...args: string[]): string {
        return execFileSync(PROGRAM, args, { cwd: this.folder, env: this.env, encoding: "utf8" });
    }

    path(name: string): string {
        return resolve(this.folder, name);
    }

    /** Add a video to the library. Returns its id. */
    add(name: string): number {
        const submitted = JSON.parse(this.run("--json", "submit", name, "--prompt", "person"));
        return submitted.video_id as number;
    }

    /** Write detections as another program does: without a job. */
    insert(videoId: number, detections: Detection[]): void {
        const script = [
            "import json, sqlite3, sys",
            "rows = json.load(open(sys.argv[2]))",
            "library = sqlite3.connect('basketball_analyzer.db')",
            "library.executemany('INSERT INTO player_detections (video_id, frame_number, tracking_id, bbox_x, bbox_y, '" +
                "'bbox_width, bbox_height, confidence_score) VALUES (' + sys.argv[1] + ', ?, ?, ?, ?, ?, ?, ?)', rows)",
            "library.commit()",
        ].join("\n");
        writeFileSync(this.path("rows.json"), JSON.stringify(detections));
        execFileSync("python3", ["-c", script, String(videoId), "rows.json"], { cwd: this.folder });
    }

    async start(): Promise<void> {
        const child = spawn(PROGRAM, ["--json", "serve", "--port", "0"], {
            cwd: this.folder,
            env: this.env,
            stdio: ["ignore", "pipe", "ignore"],
        });
        this.process = child;
        for await (const line of createInterface({ input: child.stdout! })) {
            this.address = (JSON.parse(line) as { address: string }).address;
            return;
        }
        throw new Error("the server did not start");
    }

    /** End the server, and remove its folder. */
    close(): void {
        this.process?.kill("SIGKILL");
        rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
    }
}

export async function launch(): Promise<Browser> {
    const args = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ];
    return chromium.launch({ executablePath: CHROMIUM, args });
}

/** A page that fails the test with everything that the browser complains about. */
export async function open(
    browser: Browser,
    url: string,
    options: BrowserContextOptions = {},
): Promise<{ page: Page; complaints: string[] }> {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    // tsx lets functions call this to keep their names, also those that run in the page.
    await context.addInitScript("globalThis.__name = (value) => value");
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
        if (message.type() === "error") complaints.push(message.text());
    });
    await page.goto(url);
    return { page, complaints };
}

/** The frame that the canvas shows, once it is `frame` or after `timeout` milliseconds. */
export async function waitForFrame(page: Page, frame: number, timeout = 10_000): Promise<void> {
    await page.waitForFunction(
        (wanted) => document.querySelector<HTMLElement>(".stage canvas")?.dataset["frame"] === String(wanted),
        frame,
        { timeout, polling: "raf" },
    );
}
