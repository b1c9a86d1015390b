/** Detections, loaded in windows of frames around what is shown. */

import * as api from "../api.ts";

/** Frames of a window. */
const SIZE = 500;
/** Windows that are kept: with 30 boxes a frame, about 30 MB. */
const MAX_KEPT = 64;

/** A box in source pixels. */
export interface Box {
    track: number;
    x: number;
    y: number;
    width: number;
    height: number;
    confidence: number;
}

/** The detections of `SIZE` frames. */
class Window {
    private readonly track: Int32Array;
    private readonly values: Float32Array;
    /** Row at which each frame starts, and the number of rows. */
    private readonly starts: Uint32Array;

    constructor(first: number, columns: api.Columns) {
        const n = columns.frame_number.length;
        this.track = Int32Array.from(columns.tracking_id);
        this.values = new Float32Array(5 * n);
        this.starts = new Uint32Array(SIZE + 1);
        const { x, y, width, height, confidence_score: confidence } = columns;
        for (let i = 0; i < n; i++) {
            this.values.set([x[i]!, y[i]!, width[i]!, height[i]!, confidence[i]!], 5 * i);
            this.starts[columns.frame_number[i]! - first + 1]! += 1;
        }
        for (let i = 0; i < SIZE; i++) this.starts[i + 1]! += this.starts[i]!;
    }

    boxes(frame: number): Box[] {
        const found: Box[] = [];
        for (let i = this.starts[frame % SIZE]!; i < this.starts[(frame % SIZE) + 1]!; i++) {
            const [x, y, width, height, confidence] = this.values.subarray(5 * i, 5 * i + 5);
            found.push({
                track: this.track[i]!,
                x: x!,
                y: y!,
                width: width!,
                height: height!,
                confidence: confidence!,
            });
        }
        return found;
    }
}

export class Windows {
    /** By number; the one that was used last is at the end. */
    private readonly kept = new Map<number, Window>();
    private readonly loading = new Set<number>();

    /** `onChange` is called when a window was loaded, `onProblem` with why one could not be. */
    constructor(
        private readonly videoId: number,
        private readonly jobId: string | null,
        private readonly frames: number,
        private readonly onChange: () => void,
        private readonly onProblem: (text: string) => void,
    ) {}

    /** The boxes of a frame; `undefined` while they are loaded. Also loads what comes next. */
    at(frame: number): Box[] | undefined {
        const number = Math.floor(frame / SIZE);
        const window = this.kept.get(number);
        if (!window) {
            void this.load(number);
            return undefined;
        }
        this.kept.delete(number);
        this.kept.set(number, window);
        if (frame % SIZE > SIZE / 3) void this.load(number + 1);
        return window.boxes(frame);
    }

    /** The boxes of a frame if they are there. Loads nothing. */
    peek(frame: number): Box[] {
        return this.kept.get(Math.floor(frame / SIZE))?.boxes(frame) ?? [];
    }

    private async load(number: number): Promise<void> {
        const first = number * SIZE;
        if (this.kept.has(number) || this.loading.has(number) || first >= this.frames) return;
        this.loading.add(number);
        try {
            const columns = await api.detections(this.videoId, this.jobId, first, first + SIZE - 1);
            this.kept.set(number, new Window(first, columns));
            for (const oldest of this.kept.keys()) {
                if (this.kept.size <= MAX_KEPT) break;
                this.kept.delete(oldest);
            }
            this.onChange();
        } catch (error) {
            this.onProblem(api.messageOf(error));
        } finally {
            this.loading.delete(number);
        }
    }
}
