/** The state of the player: which frame is shown, at what speed, in what range. */

import { signal } from "@preact/signals";
import type { Loop } from "../tracks/timeline.ts";
import type { FrameTimes } from "./frame_times.ts";
import type { Source } from "./source.ts";

export const RATES = [0.25, 0.5, 1, 2, 4];

export class Player {
    /** The frame that is on the screen; -1 before the first one is. */
    readonly frame = signal(-1);
    readonly isPlaying = signal(false);
    readonly rate = signal(1);
    readonly loop = signal<Loop | null>(null);
    private source: Source | null = null;
    /** The frame that was asked for last; it is not on the screen yet while a seek is under way. */
    private target = 0;

    constructor(readonly times: FrameTimes) {}

    /** Show frames of another source from now on. */
    use(source: Source): void {
        this.source?.close();
        this.source = source;
        this.isPlaying.value = false;
        source.show(this.target);
    }

    /** The source has shown a frame. */
    shown(frame: number): void {
        this.frame.value = frame;
        if (!this.isPlaying.value) return;
        this.target = frame;
        const loop = this.loop.value;
        if (loop && (frame >= loop.last || frame < loop.first)) this.source?.show((this.target = loop.first));
        else if (frame >= this.times.count - 1) this.pause();
    }

    seek(frame: number): void {
        const target = Math.max(0, Math.min(this.times.count - 1, Math.round(frame)));
        const wasPlaying = this.isPlaying.value;
        if (wasPlaying) this.source?.pause();
        this.target = target;
        this.source?.show(target);
        if (wasPlaying) this.source?.play(this.rate.value);
    }

    /** Pause, and move by a number of frames from the one that was asked for last. */
    step(by: number): void {
        this.pause();
        this.seek(this.target + by);
    }

    toggle(): void {
        if (this.isPlaying.value) this.pause();
        else this.play();
    }

    play(): void {
        if (this.target >= this.times.count - 1) this.seek(0);
        this.isPlaying.value = true;
        this.source?.play(this.rate.value);
    }

    pause(): void {
        if (!this.isPlaying.value) return;
        this.isPlaying.value = false;
        this.source?.pause();
        // The last frame that was reported is the one on the screen.
        this.seek(Math.max(0, this.frame.value));
    }

    setRate(rate: number): void {
        this.rate.value = rate;
        if (this.isPlaying.value) this.source?.play(rate);
    }

    /** The next faster or slower speed. */
    changeRate(by: 1 | -1): void {
        const i = RATES.indexOf(this.rate.value) + by;
        this.setRate(RATES[Math.max(0, Math.min(RATES.length - 1, i))]!);
    }

    /** Loop over frames `first` to `last`; a range that is turned around is put right. */
    setLoop(first: number, last: number): void {
        this.loop.value = { first: Math.min(first, last), last: Math.max(first, last) };
    }

    close(): void {
        this.source?.close();
        this.source = null;
    }
}
