/** The times of the frames of a video, in seconds, as the server reads them from the file. */
export class FrameTimes {
    /** `seconds[n]` is when frame n is shown. Ascending. */
    constructor(readonly seconds: Float64Array) {}

    get count(): number {
        return this.seconds.length;
    }

    /** The frame whose time is nearest: for the exact time of a frame, rounded in whatever way, that frame. */
    frameAt(time: number): number {
        let [low, high] = [0, this.count - 1];
        while (low < high) {
            const middle = (low + high) >> 1;
            if (this.at(middle) + this.at(middle + 1) < 2 * time) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    /** A time at which a player shows frame `n` and no other: the middle of it. */
    middleOf(n: number): number {
        return n + 1 < this.count ? (this.at(n) + this.at(n + 1)) / 2 : this.at(n) + this.lastDuration() / 2;
    }

    /** Seconds between the first frame and the end of the last. */
    get duration(): number {
        return this.count ? this.at(this.count - 1) + this.lastDuration() - this.at(0) : 0;
    }

    at(n: number): number {
        return this.seconds[n] ?? 0;
    }

    private lastDuration(): number {
        return this.count > 1 ? this.at(this.count - 1) - this.at(this.count - 2) : 0.04;
    }
}
