/** Requests to the server. Every failure is an {@link ApiError} with a text for people. */

export interface Video {
    id: number;
    game_id: number;
    file_path: string;
    r2_key: string | null;
    thumbnail_url: string;
    duration_seconds: number | null;
    fps: number | null;
    resolution: string | null;
    processing_status: "pending" | "processing" | "completed" | "failed";
    n_frames: number | null;
}

export interface Job {
    id: string;
    status: "pending" | "processing" | "completed" | "failed" | "cancelled";
    progress: { current: number; total: number; percentage: number; message: string };
    error: string | null;
    created_at: string | null;
    metadata: {
        video_id: number | null;
        video: string | null;
        target: string | null;
        attempt: number | null;
        worker_id: string | null;
        state: string;
        fps: number | null;
        parameters: { prompt?: string | null; sample_interval?: number } | null;
        upload: { sent_bytes: number; total_bytes: number } | null;
        warning: string | null;
    };
}

export interface Track {
    tracking_id: number;
    n_detections: number;
    first_frame: number;
    last_frame: number;
    mean_confidence: number;
    name: string | null;
    team: string | null;
}

/** The corrections of the tracks of a video. */
export interface Edits {
    can_undo: boolean;
    can_redo: boolean;
    edits: { id: number; is_undone: boolean; problem: string | null; kind: string; track: number }[];
}

/** A correction. Tracks have the ids that `tracks` lists. */
export type Edit =
    | { kind: "name"; track: number; name: string | null }
    | { kind: "team"; track: number; team: string | null }
    | { kind: "merge"; track: number; other: number }
    | { kind: "split"; track: number; frame: number }
    | { kind: "swap"; track: number; other: number; frame: number }
    | { kind: "delete"; track: number };

/** Detections as columns of equal length, ordered by frame. */
export interface Columns {
    total_detections: number;
    next_frame: number | null;
    frame_number: number[];
    tracking_id: number[];
    x: number[];
    y: number[];
    width: number[];
    height: number[];
    confidence_score: number[];
}

export interface TrackingRequest {
    prompt?: string;
    sample_interval?: number;
    max_seconds?: number;
}

export class ApiError extends Error {
    /** `status` is 0 if the server could not be reached. */
    constructor(
        readonly status: number,
        message: string,
    ) {
        super(message);
    }
}

/** What of a failure to show. */
export function messageOf(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}

/** Called when the server answers that the session has ended. */
let onUnauthorized = (): void => {};
export function setOnUnauthorized(action: () => void): void {
    onUnauthorized = action;
}

export async function request(path: string, init?: RequestInit): Promise<Response> {
    let response: Response;
    try {
        response = await fetch(path, init);
    } catch (error) {
        if (init?.signal?.aborted) throw error;
        throw new ApiError(0, "The server does not answer. Is `courtside serve` still running?");
    }
    if (response.ok) return response;
    if (response.status === 401) onUnauthorized();
    throw await errorOf(response.status, await response.text());
}

/** The error that a response of the API describes. */
async function errorOf(status: number, text: string): Promise<ApiError> {
    try {
        const { detail } = JSON.parse(text) as { detail: string | { loc: string[]; msg: string }[] };
        if (typeof detail === "string") return new ApiError(status, detail);
        return new ApiError(status, detail.map(({ loc, msg }) => `${loc.at(-1)}: ${msg}`).join("; "));
    } catch {
        return new ApiError(status, `The server answered with status ${status}.`);
    }
}

async function json<T>(path: string, init?: RequestInit): Promise<T> {
    return (await (await request(path, init)).json()) as T;
}

function jsonBody(method: string, body: unknown): RequestInit {
    return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

export const session = () => json<{ needs_token: boolean; is_authorized: boolean }>("/api/session");
export const logIn = (token: string) => request("/api/session", jsonBody("POST", { token }));
export const logOut = () => request("/api/session", { method: "DELETE" });

export const video = (id: number) => json<Video>(`/api/videos/${id}`);
export const videos = (page: number, pageSize: number) =>
    json<{ videos: Video[]; total: number; total_pages: number }>(
        `/api/videos?page=${page}&page_size=${pageSize}`,
    );

export const jobs = (query = "") =>
    json<{ jobs: Job[]; total: number; unreadable: string[]; warning: string | null }>(`/api/jobs${query}`);
export const cancel = (id: string) => request(`/api/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
export const retry = (id: string) => request(`/api/jobs/${encodeURIComponent(id)}/retry`, { method: "POST" });
export const removeJob = (id: string) =>
    request(`/api/jobs/${encodeURIComponent(id)}/remove`, { method: "POST" });
export const logs = (id: string) =>
    json<{ events: string[]; attempts: { key: string; lines: string[] }[] }>(
        `/api/jobs/${encodeURIComponent(id)}/logs`,
    );
export const track = (videoId: number, target: "" | "local" | "cloud", body: TrackingRequest) =>
    json<{ job_id: string; message: string }>(
        `/api/videos/${videoId}/detect${target && `?target=${target}`}`,
        jsonBody("POST", body),
    );

export const tracks = (videoId: number, jobId: string | null) =>
    json<{ job_id: string | null; tracks: Track[] }>(`/api/videos/${videoId}/tracks${jobQuery("?", jobId)}`);

/** The detections of frames `first` to `last`, both inclusive. */
export const detections = (videoId: number, jobId: string | null, first: number, last: number) =>
    json<Columns>(
        `/api/videos/${videoId}/detections?format=columns&limit=500000` +
            `&frame_start=${first}&frame_end=${last}${jobQuery("&", jobId)}`,
    );

export const edits = (videoId: number, jobId: string | null) =>
    json<Edits>(`/api/videos/${videoId}/edits${jobQuery("?", jobId)}`);
export const addEdit = (videoId: number, jobId: string | null, edit: Edit) =>
    json<Edits>(`/api/videos/${videoId}/edits${jobQuery("?", jobId)}`, jsonBody("POST", edit));
export const undo = (videoId: number, jobId: string | null) =>
    json<Edits>(`/api/videos/${videoId}/edits/undo${jobQuery("?", jobId)}`, { method: "POST" });
export const redo = (videoId: number, jobId: string | null) =>
    json<Edits>(`/api/videos/${videoId}/edits/redo${jobQuery("?", jobId)}`, { method: "POST" });

function jobQuery(separator: string, jobId: string | null): string {
    return jobId === null ? "" : `${separator}job_id=${encodeURIComponent(jobId)}`;
}

/** The time of every frame, in seconds. */
export async function timestamps(videoId: number): Promise<Float64Array> {
    const response = await request(`/api/videos/${videoId}/timestamps?format=binary`);
    return new Float64Array(await response.arrayBuffer()).map((ticks) => ticks / 1e6);
}

/** Upload a file. `onProgress` gets the share that is sent, 0 to 1. */
export function upload(file: File, onProgress: (share: number) => void, signal: AbortSignal): Promise<Video> {
    return new Promise((resolve, reject) => {
        const form = new FormData();
        form.append("file", file);
        const xhr = new XMLHttpRequest();
        xhr.open("POST", "/api/videos");
        xhr.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
        xhr.onerror = () =>
            reject(new ApiError(0, "The upload was interrupted: the server does not answer."));
        xhr.onabort = () => reject(new ApiError(0, "The upload was cancelled."));
        xhr.onload = async () => {
            if (xhr.status < 300) return resolve(JSON.parse(xhr.responseText) as Video);
            if (xhr.status === 401) onUnauthorized();
            reject(await errorOf(xhr.status, xhr.responseText));
        };
        signal.addEventListener("abort", () => xhr.abort());
        xhr.send(form);
    });
}

/** Follow a job until it ends. Returns a function that stops following. */
export function follow(id: string, onJob: (job: Job) => void): () => void {
    const events = new EventSource(`/api/jobs/${encodeURIComponent(id)}/events`);
    events.onmessage = ({ data }) => onJob(JSON.parse(data as string) as Job);
    return () => events.close();
}
