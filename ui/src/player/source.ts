/** Where the player gets the frames from: a `<video>`, or single images where the browser cannot play the file. */

import * as api from "../api.ts";
import type { FrameTimes } from "./frame_times.ts";

/** Called with each frame that is shown now, and its image. An image of type `VideoFrame` or `ImageBitmap` is the receiver's to
 * close. */
export type OnFrame = (frame: number, image: CanvasImageSource) => void;

export interface Source {
    /** Show a frame. A later call replaces one that is not done yet. */
    show(frame: number): void;
    play(rate: number): void;
    pause(): void;
    close(): void;
}

/** Why a file is not played by the browser. */
export type OnUnplayable = (reason: string) => void;

/** Plays with the browser's own decoder. The frame that is shown is told by its time, not guessed from the clock. */
export class VideoSource implements Source {
    private wanted: number | null = null;
    private isClosed = false;

    constructor(
        private readonly video: HTMLVideoElement,
        private readonly times: FrameTimes,
        private readonly onFrame: OnFrame,
        onUnplayable: OnUnplayable,
    ) {
        const fail = (reason: string) => {
            if (!this.isClosed) onUnplayable(reason);
        };
        video.addEventListener("error", () => fail("This browser cannot play this file."));
        video.addEventListener("loadedmetadata", () => {
            if (video.videoWidth === 0) fail("This browser cannot decode the pictures of this file.");
        });
        video.addEventListener("seeked", () => {
            if (this.wanted !== null) this.seek(this.wanted);
        });
        this.waitForFrame();
    }

    show(frame: number): void {
        // A browser that is seeking drops earlier targets, but not always the picture in between.
        if (this.video.seeking) this.wanted = frame;
        else this.seek(frame);
    }

    play(rate: number): void {
        this.video.playbackRate = rate;
        void this.video.play().catch(() => {});
    }

    pause(): void {
        this.video.pause();
    }

    close(): void {
        this.isClosed = true;
        this.video.pause();
        this.video.removeAttribute("src");
        this.video.load();
    }

    private seek(frame: number): void {
        this.wanted = null;
        this.video.currentTime = this.times.middleOf(frame);
    }

    private waitForFrame(): void {
        this.video.requestVideoFrameCallback((_now, { mediaTime }) => {
            if (this.isClosed) return;
            // The picture that is drawn may be an older one than the one that is announced: a copy tells its own time. Pages
            // of other machines get no copies without HTTPS.
            if ("VideoFrame" in globalThis) {
                const copy = new VideoFrame(this.video);
                this.onFrame(this.times.frameAt(copy.timestamp / 1e6), copy);
                if (Math.abs(copy.timestamp / 1e6 - mediaTime) > 1e-3)
                    requestAnimationFrame(() => this.showCurrent());
            } else {
                this.onFrame(this.times.frameAt(mediaTime), this.video);
            }
            this.waitForFrame();
        });
    }

    /** Show what the video shows now, if it is another frame than the one that was copied. */
    private showCurrent(): void {
        if (this.isClosed || this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
        const copy = new VideoFrame(this.video);
        this.onFrame(this.times.frameAt(copy.timestamp / 1e6), copy);
    }
}

/** Shows frames that the server decodes: slower, without sound, and exact for every file. */
export class ImageSource implements Source {
    private loading: AbortController | null = null;
    private current = 0;
    private timer = 0;

    constructor(
        private readonly videoId: number,
        private readonly times: FrameTimes,
        private readonly width: number,
        private readonly onFrame: OnFrame,
        private readonly onProblem: (text: string) => void,
    ) {}

    show(frame: number): void {
        void this.load(frame);
    }

    play(rate: number): void {
        this.pause();
        const started = performance.now();
        const from = this.times.at(this.current);
        const next = async () => {
            const now = this.times.frameAt(from + ((performance.now() - started) / 1000) * rate);
            await this.load(Math.max(now, Math.min(this.current + 1, this.times.count - 1)));
            if (this.timer && this.current < this.times.count - 1) this.timer = requestAnimationFrame(next);
        };
        this.timer = requestAnimationFrame(next);
    }

    pause(): void {
        cancelAnimationFrame(this.timer);
        this.timer = 0;
    }

    close(): void {
        this.pause();
        this.loading?.abort();
    }

    private async load(frame: number): Promise<void> {
        this.loading?.abort();
        const loading = new AbortController();
        this.loading = loading;
        try {
            const path = `/api/videos/${this.videoId}/frames/${frame}.jpg?width=${this.width}`;
            const response = await api.request(path, { signal: loading.signal });
            const image = await createImageBitmap(await response.blob());
            if (loading.signal.aborted) return;
            this.current = frame;
            this.onFrame(frame, image);
        } catch (error) {
            if (!loading.signal.aborted) this.onProblem(api.messageOf(error));
        }
    }
}
