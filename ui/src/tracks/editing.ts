/** The corrections of a game's tracks: what was made of them, undo and redo, and those of other windows. */

import { batch, signal } from "@preact/signals";
import * as api from "../api.ts";

/** How often the edits of other windows are looked for. */
const POLL_MS = 3000;

export class Editing {
    readonly tracks = signal<api.Track[]>([]);
    readonly edits = signal<api.Edits>({ can_undo: false, can_redo: false, edits: [] });
    /** Changes whenever detections must be read again. */
    readonly version = signal(0);
    readonly isBusy = signal(false);
    readonly problem = signal("");
    private readonly timer: ReturnType<typeof setInterval>;

    constructor(
        private readonly videoId: number,
        private readonly jobId: string | null,
        tracks: api.Track[],
    ) {
        this.tracks.value = tracks;
        void this.refresh();
        this.timer = setInterval(() => void this.refresh(), POLL_MS);
    }

    close(): void {
        clearInterval(this.timer);
    }

    add(edit: api.Edit): Promise<boolean> {
        return this.change(() => api.addEdit(this.videoId, this.jobId, edit));
    }

    undo(): Promise<boolean> {
        return this.change(() => api.undo(this.videoId, this.jobId));
    }

    redo(): Promise<boolean> {
        return this.change(() => api.redo(this.videoId, this.jobId));
    }

    /** Returns whether it was done; if not, `problem` says why. */
    private async change(work: () => Promise<api.Edits>): Promise<boolean> {
        this.isBusy.value = true;
        try {
            await this.show(await work());
            this.problem.value = "";
            return true;
        } catch (error) {
            this.problem.value = api.messageOf(error);
            return false;
        } finally {
            this.isBusy.value = false;
        }
    }

    private async refresh(): Promise<void> {
        if (this.isBusy.value || document.hidden) return;
        try {
            await this.show(await api.edits(this.videoId, this.jobId));
        } catch {
            // What the user does next says that the server is away.
        }
    }

    private async show(edits: api.Edits): Promise<void> {
        if (JSON.stringify(edits) === JSON.stringify(this.edits.value)) return;
        const isFirst = this.version.value === 0 && this.edits.value.edits.length === 0;
        const { tracks } =
            isFirst && edits.edits.length === 0 ? { tracks: this.tracks.value } : await this.reload();
        batch(() => {
            this.edits.value = edits;
            this.tracks.value = tracks;
            this.version.value += 1;
        });
    }

    private reload(): Promise<{ tracks: api.Track[] }> {
        return api.tracks(this.videoId, this.jobId);
    }
}
