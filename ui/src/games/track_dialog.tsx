/** Asks what to track, and submits a job for each prompt. */

import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api.ts";
import { Problem } from "../app.tsx";
import { counted, fileName } from "../text.ts";

const PRESETS = ["basketball player", "referee", "ball", "athlete"];

export function TrackDialog({ video, onClose }: { video: api.Video; onClose: () => void }) {
    const dialog = useRef<HTMLDialogElement>(null);
    const [prompts, setPrompts] = useState(["basketball player"]);
    const [own, setOwn] = useState("");
    const [interval, setInterval] = useState(1);
    const [seconds, setSeconds] = useState("");
    const [target, setTarget] = useState<"" | "local" | "cloud">("");
    const [problem, setProblem] = useState("");
    useEffect(() => dialog.current?.showModal(), []);

    const all = [...prompts, ...(own.trim() ? [own.trim()] : [])];
    const limit = Number(seconds) || Infinity;
    const whole = video.n_frames ?? 0;
    const inRange = Math.min(whole, Math.ceil(limit * (video.fps ?? 0)) || whole);
    const frames = Math.ceil(inRange / interval) * all.length;
    const submit = async (event: SubmitEvent) => {
        event.preventDefault();
        for (const prompt of all) {
            const body: api.TrackingRequest = { prompt, sample_interval: interval };
            if (Number.isFinite(limit)) body.max_seconds = limit;
            try {
                await api.track(video.id, target, body);
                setPrompts((old) => old.filter((other) => other !== prompt));
            } catch (error) {
                return setProblem(`${prompt}: ${api.messageOf(error)}`);
            }
        }
        onClose();
    };
    const toggle = (prompt: string) =>
        setPrompts(prompts.includes(prompt) ? prompts.filter((p) => p !== prompt) : [...prompts, prompt]);

    return (
        <dialog ref={dialog} onClose={onClose} aria-label="Track a game">
            <form onSubmit={submit}>
                <h2>Track {fileName(video.file_path)}</h2>
                <fieldset>
                    <legend>What to track</legend>
                    {PRESETS.map((prompt) => (
                        <label class="inline" key={prompt}>
                            <input
                                type="checkbox"
                                checked={prompts.includes(prompt)}
                                onChange={() => toggle(prompt)}
                            />
                            {prompt}
                        </label>
                    ))}
                    <label>
                        Something else
                        <input
                            value={own}
                            maxLength={500}
                            onInput={(event) => setOwn(event.currentTarget.value)}
                        />
                    </label>
                </fieldset>
                <label>
                    Track every n-th frame
                    <input
                        type="number"
                        min={1}
                        max={1000000}
                        value={interval}
                        onInput={(event) => setInterval(Math.max(1, Number(event.currentTarget.value) || 1))}
                    />
                </label>
                <label>
                    Only the first seconds
                    <input
                        type="number"
                        min={1}
                        placeholder="all"
                        value={seconds}
                        onInput={(event) => setSeconds(event.currentTarget.value)}
                    />
                </label>
                <label>
                    Where
                    <select
                        value={target}
                        onChange={(event) => setTarget(event.currentTarget.value as typeof target)}
                    >
                        <option value="">the bucket if one is configured, else this machine</option>
                        <option value="cloud">the bucket</option>
                        <option value="local">this machine</option>
                    </select>
                </label>
                <p class="hint">
                    {whole ? `${counted(frames, "frame")} to track` : "The number of frames is not known"}, in{" "}
                    {counted(all.length, "job")}.
                </p>
                {problem && <Problem text={problem} />}
                <div class="row actions">
                    <button type="button" onClick={() => dialog.current?.close()}>
                        Close
                    </button>
                    <button class="primary" disabled={all.length === 0}>
                        Track
                    </button>
                </div>
            </form>
        </dialog>
    );
}
