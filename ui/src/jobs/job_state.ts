/** The state of a job, for people. */

import type { Job } from "../api.ts";
import { clock } from "../text.ts";

export function isActive(job: Job): boolean {
    return job.status === "pending" || job.status === "processing";
}

/** What a job is doing: state, frames per second, and the time that is left. */
export function describe(job: Job): string {
    const { current, total, message } = job.progress;
    const { fps, state, upload } = job.metadata;
    if (upload?.total_bytes)
        return `uploading, ${Math.floor((100 * upload.sent_bytes) / upload.total_bytes)} %`;
    if (state === "tracking" && fps) {
        const left = total > current ? `, ${clock((total - current) / fps)} left` : "";
        return `${current.toLocaleString("en")} of ${total.toLocaleString("en")} frames, ${fps.toFixed(1)} per second${left}`;
    }
    return job.status === "failed" ? (job.error ?? message) : message || state.replaceAll("_", " ");
}
