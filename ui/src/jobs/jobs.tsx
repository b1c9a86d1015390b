/** Every job: its state, its log, and what can be done with it. */

import { useEffect, useState } from "preact/hooks";
import * as api from "../api.ts";
import { Problem } from "../app.tsx";
import { fileName } from "../text.ts";
import { describe, isActive } from "./job_state.ts";

const REFRESH_MS = 3000;

export function JobsPage() {
    const [list, setList] = useState<Awaited<ReturnType<typeof api.jobs>> | null>(null);
    const [problem, setProblem] = useState("");
    const load = () =>
        api.jobs("?limit=1000").then(
            (found) => {
                setList(found);
                setProblem("");
            },
            (error) => setProblem(api.messageOf(error)),
        );
    useEffect(() => {
        void load();
        const timer = setInterval(load, REFRESH_MS);
        return () => clearInterval(timer);
    }, []);
    return (
        <main class="page">
            <h1>Jobs</h1>
            {problem && <Problem text={problem} />}
            {list?.warning && <Problem text={list.warning} />}
            {list?.unreadable.map((text) => (
                <Problem key={text} text={text} />
            ))}
            {list && list.jobs.length === 0 && <p class="hint">No jobs yet. Track a game to create one.</p>}
            <ul class="jobs">
                {list?.jobs.map((job) => (
                    <JobRow key={job.id} job={job} onChange={load} />
                ))}
            </ul>
        </main>
    );
}

function JobRow({ job, onChange }: { job: api.Job; onChange: () => void }) {
    const [log, setLog] = useState<string[] | null>(null);
    const [problem, setProblem] = useState("");
    const act = (action: Promise<unknown>) =>
        action.then(
            () => {
                setProblem("");
                onChange();
            },
            (error) => setProblem(api.messageOf(error)),
        );
    const showLog = () =>
        act(
            api
                .logs(job.id)
                .then(({ events, attempts }) =>
                    setLog([...events, ...attempts.flatMap(({ key, lines }) => ["", key, ...lines])]),
                ),
        );
    const { video_id: videoId, video, parameters, target, attempt, worker_id: worker } = job.metadata;
    const name = video
        ? fileName(video)
        : videoId === null
          ? "a video of another library"
          : `video ${videoId}`;
    const isOver = !isActive(job);
    return (
        <li>
            <div class="row">
                <span class={`badge ${job.status}`}>{job.status}</span>
                <strong>
                    {videoId === null ? (
                        name
                    ) : (
                        <a href={`#/videos/${videoId}?job=${encodeURIComponent(job.id)}`}>{name}</a>
                    )}
                </strong>
                <span>{parameters?.prompt}</span>
                <span class="hint">
                    {[target, attempt ? `attempt ${attempt}` : "", worker].filter(Boolean).join(", ")}
                </span>
                <span class="actions">
                    <button onClick={() => (log ? setLog(null) : showLog())}>
                        {log ? "Hide log" : "Log"}
                    </button>
                    {!isOver && <button onClick={() => act(api.cancel(job.id))}>Cancel</button>}
                    {(job.status === "failed" || job.status === "cancelled") && (
                        <button onClick={() => act(api.retry(job.id))}>Retry</button>
                    )}
                    {isOver && <button onClick={() => act(api.removeJob(job.id))}>Remove</button>}
                </span>
            </div>
            {isActive(job) && <Bar share={job.progress.percentage / 100} />}
            <p class={job.status === "failed" ? "error-text" : "hint"}>{describe(job)}</p>
            <p class="hint id">{job.id}</p>
            {problem && <Problem text={problem} />}
            {log && <pre class="log">{log.join("\n") || "The log is empty."}</pre>}
        </li>
    );
}

export function Bar({ share }: { share: number }) {
    return <progress max={1} value={share} aria-label="progress" />;
}
