/** The videos of the library: a card each, and a place to drop files. */

import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api.ts";
import { Problem } from "../app.tsx";
import { describe, isActive } from "../jobs/job_state.ts";
import { Bar } from "../jobs/jobs.tsx";
import { clock, counted, fileName } from "../text.ts";
import { TrackDialog } from "./track_dialog.tsx";

const PAGE_SIZE = 48;
const REFRESH_MS = 5000;
/** Jobs that are followed by an event stream. A browser opens at most six connections to a server. */
const MAX_STREAMS = 2;

interface Upload {
    name: string;
    share: number;
    problem: string;
    stop: AbortController;
}

export function GamesPage() {
    const [page, setPage] = useState(1);
    const [list, setList] = useState<Awaited<ReturnType<typeof api.videos>> | null>(null);
    const [jobs, setJobs] = useState(new Map<string, api.Job>());
    const [problem, setProblem] = useState("");
    const [uploads, setUploads] = useState<Upload[]>([]);
    const [chosen, setChosen] = useState<api.Video | null>(null);
    const input = useRef<HTMLInputElement>(null);

    const load = async () => {
        try {
            const [videos, found] = await Promise.all([api.videos(page, PAGE_SIZE), api.jobs("?limit=1000")]);
            setList(videos);
            setJobs(new Map(found.jobs.map((job) => [job.id, job])));
            setProblem(found.warning ?? "");
        } catch (error) {
            setProblem(api.messageOf(error));
        }
    };
    useEffect(() => {
        void load();
        const timer = setInterval(load, REFRESH_MS);
        return () => clearInterval(timer);
    }, [page]);

    const followed = [...jobs.values()].filter(isActive).slice(0, MAX_STREAMS);
    const ids = followed.map((job) => job.id).join();
    useEffect(() => {
        const update = (job: api.Job) => setJobs((old) => new Map(old).set(job.id, job));
        const stops = ids ? ids.split(",").map((id) => api.follow(id, update)) : [];
        return () => stops.forEach((stop) => stop());
    }, [ids]);

    const add = async (files: Iterable<File>) => {
        for (const file of files) {
            const upload: Upload = { name: file.name, share: 0, problem: "", stop: new AbortController() };
            const show = (change: Partial<Upload>) => {
                Object.assign(upload, change);
                setUploads((old) => [...old]);
            };
            setUploads((old) => [...old, upload]);
            try {
                await api.upload(file, (share) => show({ share }), upload.stop.signal);
                setUploads((old) => old.filter((other) => other !== upload));
                await load();
            } catch (error) {
                show({ problem: api.messageOf(error) });
            }
        }
    };
    const drop = (event: DragEvent) => {
        event.preventDefault();
        void add(event.dataTransfer?.files ?? []);
    };

    return (
        <main class="page" onDragOver={(event) => event.preventDefault()} onDrop={drop}>
            <div class="row">
                <h1>Games</h1>
                <span class="actions">
                    <input
                        ref={input}
                        type="file"
                        multiple
                        hidden
                        onChange={(event) => void add(event.currentTarget.files ?? [])}
                    />
                    <button class="primary" onClick={() => input.current?.click()}>
                        Add videos
                    </button>
                </span>
            </div>
            {problem && <Problem text={problem} />}
            {uploads.map((upload) => (
                <div class="upload row" key={upload.name}>
                    <span>{upload.name}</span>
                    {upload.problem ? <Problem text={upload.problem} /> : <Bar share={upload.share} />}
                    <button
                        onClick={() => {
                            upload.stop.abort();
                            setUploads((old) => old.filter((other) => other !== upload));
                        }}
                    >
                        {upload.problem ? "Dismiss" : "Cancel"}
                    </button>
                </div>
            ))}
            {list?.total === 0 && <p class="drop">Drop a video here, or choose “Add videos”.</p>}
            <ul class="cards">
                {list?.videos.map((video) => (
                    <Card
                        key={video.id}
                        video={video}
                        job={latestJob(video.id, jobs)}
                        onTrack={() => setChosen(video)}
                    />
                ))}
            </ul>
            {list && list.total_pages > 1 && (
                <nav class="row" aria-label="pages">
                    <button disabled={page === 1} onClick={() => setPage(page - 1)}>
                        Previous
                    </button>
                    <span>
                        Page {page} of {list.total_pages}
                    </span>
                    <button disabled={page >= list.total_pages} onClick={() => setPage(page + 1)}>
                        Next
                    </button>
                </nav>
            )}
            {chosen && (
                <TrackDialog
                    video={chosen}
                    onClose={() => {
                        setChosen(null);
                        void load();
                    }}
                />
            )}
        </main>
    );
}

/** The newest job of a video: the list is ordered, newest first. */
function latestJob(videoId: number, jobs: Map<string, api.Job>): api.Job | undefined {
    return [...jobs.values()].find((job) => job.metadata.video_id === videoId);
}

function Card({ video, job, onTrack }: { video: api.Video; job: api.Job | undefined; onTrack: () => void }) {
    const facts = [
        video.duration_seconds === null ? "" : clock(video.duration_seconds),
        video.n_frames === null ? "" : counted(video.n_frames, "frame"),
        video.resolution?.replace("x", " × "),
    ];
    return (
        <li class="card">
            <a href={`#/videos/${video.id}`} class="thumbnail" tabindex={-1} aria-hidden="true">
                <img src={video.thumbnail_url} alt="" loading="lazy" />
            </a>
            <div class="card-text">
                <a href={`#/videos/${video.id}`}>{fileName(video.file_path)}</a>
                <p class="hint">{facts.filter(Boolean).join(" · ")}</p>
                {job ? (
                    <p>
                        <span class={`badge ${job.status}`}>{job.status}</span>{" "}
                        <span class="hint">{describe(job)}</span>
                    </p>
                ) : (
                    <p class="hint">
                        {video.processing_status === "completed" ? "has tracks" : "not tracked"}
                    </p>
                )}
                {job && isActive(job) && <Bar share={job.progress.percentage / 100} />}
                <button onClick={onTrack}>Track…</button>
            </div>
        </li>
    );
}
