/** The timeline: how many tracks there are over time, and a lane for each track. Drawn on a canvas. */

import type { Track } from "../api.ts";
import { clock, trackColour } from "../text.ts";

const LANE = 9;
const DENSITY = 34;
const RULER = 18;
/** Distance of two marks of the ruler, in CSS pixels, at least. */
const MARK_DISTANCE = 90;
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

export interface Loop {
    first: number;
    last: number;
}

export class Timeline {
    /** First and last frame that are visible; fractions while it is moved. */
    private view: [number, number];
    private scroll = 0;
    private frame = 0;
    private selected: number | null = null;
    private loop: Loop | null = null;
    private tracks: Track[] = [];

    constructor(
        private readonly canvas: HTMLCanvasElement,
        private readonly frames: number,
        /** The time of a frame in seconds. */
        private readonly timeOf: (frame: number) => number,
    ) {
        this.view = [0, Math.max(1, frames - 1)];
    }

    setTracks(tracks: Track[]): void {
        this.tracks = [...tracks].sort(
            (a, b) => a.first_frame - b.first_frame || a.tracking_id - b.tracking_id,
        );
        this.draw();
    }

    update(frame: number, selected: number | null, loop: Loop | null): void {
        if (selected !== this.selected && selected !== null) this.scrollTo(selected);
        Object.assign(this, { frame, selected, loop });
        this.follow();
        this.draw();
    }

    frameAt(x: number): number {
        const [first, last] = this.view;
        const frame = Math.round(first + (x / this.canvas.clientWidth) * (last - first));
        return Math.min(this.frames - 1, Math.max(0, frame));
    }

    /** The track whose lane is at a point in CSS pixels. */
    trackAt(x: number, y: number): number | null {
        const track = this.tracks[Math.floor((y - RULER - DENSITY + this.scroll) / LANE)];
        if (y < RULER + DENSITY || !track) return null;
        const frame = this.frameAt(x);
        return frame >= track.first_frame && frame <= track.last_frame ? track.tracking_id : null;
    }

    /** Zoom by a factor around a point in CSS pixels; at least ten frames stay visible. */
    zoomAt(factor: number, x: number): void {
        const [first, last] = this.view;
        const anchor = first + (x / this.canvas.clientWidth) * (last - first);
        const span = Math.min(this.frames - 1, Math.max(10, (last - first) / factor));
        this.show(anchor - (span * (anchor - first)) / (last - first), span);
    }

    /** Move by CSS pixels, along the time and over the lanes. */
    pan(dx: number, dy: number): void {
        const [first, last] = this.view;
        const span = last - first;
        this.scroll = this.clampScroll(this.scroll + dy);
        this.show(first + (dx / this.canvas.clientWidth) * span, span);
    }

    draw(): void {
        const { canvas } = this;
        const ratio = window.devicePixelRatio || 1;
        const [width, height] = [canvas.clientWidth, canvas.clientHeight];
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
        const context = canvas.getContext("2d");
        if (!context || width === 0) return;
        context.scale(ratio, ratio);
        const style = getComputedStyle(canvas);
        const text = style.color;
        this.drawLoop(context, height);
        this.drawLanes(context, width, height);
        context.fillStyle = style.backgroundColor;
        context.fillRect(0, 0, width, RULER + DENSITY);
        this.drawDensity(context, width, style.accentColor === "auto" ? text : style.accentColor);
        this.drawRuler(context, width, text);
        const x = this.x(this.frame);
        context.fillStyle = text;
        context.fillRect(x - 0.75, 0, 1.5, height);
    }

    private show(first: number, span: number): void {
        const start = Math.min(Math.max(0, first), Math.max(0, this.frames - 1 - span));
        this.view = [start, start + span];
        this.draw();
    }

    /** Keep the frame that is shown in view. */
    private follow(): void {
        const [first, last] = this.view;
        if (this.frame >= first && this.frame <= last) return;
        const span = last - first;
        const start = this.frame > last && this.frame < last + span ? this.frame : this.frame - span / 2;
        this.view = [Math.max(0, Math.min(start, this.frames - 1 - span)), 0];
        this.view[1] = this.view[0] + span;
    }

    private scrollTo(track: number): void {
        const row = this.tracks.findIndex((other) => other.tracking_id === track);
        const room = this.canvas.clientHeight - RULER - DENSITY;
        if (row < 0 || (row * LANE >= this.scroll && (row + 1) * LANE <= this.scroll + room)) return;
        this.scroll = this.clampScroll(row * LANE - room / 2);
    }

    private clampScroll(scroll: number): number {
        const room = this.canvas.clientHeight - RULER - DENSITY;
        return Math.max(0, Math.min(scroll, this.tracks.length * LANE - room));
    }

    private x(frame: number): number {
        const [first, last] = this.view;
        return ((frame - first) / Math.max(1e-9, last - first)) * this.canvas.clientWidth;
    }

    private drawLanes(context: CanvasRenderingContext2D, width: number, height: number): void {
        const top = RULER + DENSITY - this.scroll;
        const from = Math.max(0, Math.floor(this.scroll / LANE));
        const to = Math.min(this.tracks.length, Math.ceil((height - top) / LANE));
        for (let row = from; row < to; row++) {
            const track = this.tracks[row]!;
            const [left, right] = [this.x(track.first_frame), this.x(track.last_frame + 1)];
            if (right < 0 || left > width) continue;
            const isSelected = track.tracking_id === this.selected;
            context.globalAlpha = this.selected === null || isSelected ? 1 : 0.4;
            context.fillStyle = trackColour(track.tracking_id);
            const inset = isSelected ? 0.5 : 2;
            context.fillRect(left, top + row * LANE + inset, Math.max(1.5, right - left), LANE - 2 * inset);
        }
        context.globalAlpha = 1;
    }

    /** The number of tracks in each column of pixels. */
    private drawDensity(context: CanvasRenderingContext2D, width: number, colour: string): void {
        const columns = Math.ceil(width);
        const change = new Int32Array(columns + 2);
        for (const track of this.tracks) {
            const left = Math.floor(this.x(track.first_frame));
            const right = Math.ceil(this.x(track.last_frame + 1));
            if (right < 0 || left > columns) continue;
            change[Math.max(0, left)]! += 1;
            change[Math.min(columns + 1, Math.max(right, left + 1))]! -= 1;
        }
        let n = 0;
        const counts = Array.from({ length: columns }, (_, i) => (n += change[i]!));
        const most = Math.max(1, ...counts);
        context.fillStyle = colour;
        counts.forEach((count, i) => {
            const height = (count / most) * (DENSITY - 6);
            context.fillRect(i, RULER + DENSITY - 2 - height, 1, height);
        });
    }

    private drawRuler(context: CanvasRenderingContext2D, width: number, colour: string): void {
        const [first, last] = this.view.map((frame) => this.timeOf(Math.round(frame)));
        const span = Math.max(1e-6, last! - first!);
        const step = STEPS_S.find((s) => (s / span) * width >= MARK_DISTANCE) ?? 7200;
        context.fillStyle = colour;
        context.font = "11px system-ui, sans-serif";
        for (let mark = Math.ceil(first! / step); mark * step <= last!; mark++) {
            const x = ((mark * step - first!) / span) * width;
            context.fillRect(x, RULER - 5, 1, 5);
            context.fillText(clock(mark * step, step < 1 ? 1 : 0), x + 4, RULER - 5);
        }
    }

    private drawLoop(context: CanvasRenderingContext2D, height: number): void {
        if (!this.loop) return;
        const [left, right] = [this.x(this.loop.first), this.x(this.loop.last + 1)];
        context.fillStyle = "rgb(255 200 87 / 25%)";
        context.fillRect(left, 0, right - left, height);
    }
}
