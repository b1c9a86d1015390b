/** One video: its frames with boxes, the timeline, and the tracks. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "../api.ts";
import { Problem } from "../app.tsx";
import { clock, counted, fileName } from "../text.ts";
import { Editing } from "../tracks/editing.ts";
import { Timeline } from "../tracks/timeline.ts";
import { TrackList } from "../tracks/track_list.tsx";
import { type Picking, TrackPanel } from "../tracks/track_panel.tsx";
import { type Box, Windows } from "../tracks/windows.ts";
import { FrameTimes } from "./frame_times.ts";
import { Help } from "./help.tsx";
import { useKeys } from "./keys.ts";
import { Player, RATES } from "./player.ts";
import { ImageSource, VideoSource } from "./source.ts";
import { Stage } from "./stage.ts";

/** Frames over which a trail is drawn. */
const TRAIL = 75;
/** Width of the images of a file that the browser cannot play. */
const IMAGE_WIDTH = 1280;

interface Loaded {
    video: api.Video;
    times: FrameTimes;
    tracks: api.Track[];
    /** The job whose tracks are shown; null for those of another program. */
    shownJob: string | null;
    jobs: api.Job[];
}

export function GamePage({ videoId, jobId }: { videoId: number; jobId: string | null }) {
    const [loaded, setLoaded] = useState<Loaded | null>(null);
    const [problem, setProblem] = useState("");
    useEffect(() => {
        load(videoId, jobId).then(setLoaded, (error) => setProblem(api.messageOf(error)));
    }, [videoId, jobId]);
    return (
        <main class="game">
            {problem && <Problem text={problem} />}
            {loaded ? <Game {...loaded} /> : !problem && <p class="hint page">Loading…</p>}
        </main>
    );
}

async function load(videoId: number, jobId: string | null): Promise<Loaded> {
    const [video, seconds, found, jobs] = await Promise.all([
        api.video(videoId),
        api.timestamps(videoId),
        api.tracks(videoId, jobId),
        api.jobs(`?video_id=${videoId}&limit=1000`),
    ]);
    const { tracks, job_id: shownJob } = found;
    return { video, times: new FrameTimes(seconds), tracks, shownJob, jobs: jobs.jobs };
}

function Game({ video, times, tracks: loadedTracks, shownJob, jobs }: Loaded) {
    const player = useMemo(() => new Player(times), [times]);
    const editing = useMemo(() => new Editing(video.id, shownJob, loadedTracks), [video.id, shownJob]);
    useEffect(() => () => editing.close(), [editing]);
    const tracks = editing.tracks.value;
    const version = editing.version.value;
    const names = useMemo(
        () => new Map(tracks.flatMap(({ tracking_id: id, name }) => (name ? [[id, name] as const] : []))),
        [tracks],
    );
    const [picking, setPicking] = useState<Picking>(null);
    const [selected, setSelected] = useState<number | null>(null);
    const [confidence, setConfidence] = useState(0);
    const [hasTrails, setHasTrails] = useState(false);
    const [onlySelected, setOnlySelected] = useState(false);
    const [isHelpOpen, setIsHelpOpen] = useState(false);
    const [notice, setNotice] = useState("");
    const [boxesOf, setBoxesOf] = useState(-1);
    const view = useRef<HTMLDivElement>(null);
    const canvas = useRef<HTMLCanvasElement>(null);
    const videoElement = useRef<HTMLVideoElement>(null);
    const strip = useRef<HTMLCanvasElement>(null);
    const stage = useRef<Stage | null>(null);
    const timeline = useRef<Timeline | null>(null);
    const [width, height] = (video.resolution ?? "1920x1080").split("x").map(Number) as [number, number];

    /** Draws what is on the screen again, with the boxes that are there now. */
    const redraw = useRef(() => {});
    const windows = useMemo(
        () => new Windows(video.id, shownJob, times.count, () => redraw.current(), setNotice),
        [video.id, shownJob, times, version],
    );
    const draw = (frame: number, image: CanvasImageSource | null) => {
        const boxes = tracks.length ? windows.at(frame) : [];
        const isShown = (box: Box) =>
            box.confidence >= confidence && (!onlySelected || selected === null || box.track === selected);
        const visible = (boxes ?? []).filter(isShown);
        const trails = hasTrails ? trailsOf(windows, frame, visible) : new Map();
        stage.current?.draw(image, { boxes: visible, selected, names, trails });
        if (canvas.current) canvas.current.dataset.frame = String(frame);
        setBoxesOf(boxes ? frame : -1);
    };
    const latest = useRef(draw);
    latest.current = draw;
    // While a video plays, its next frame is drawn soon, and what it shows now may be newer than the boxes.
    redraw.current = () => {
        if (player.frame.value >= 0 && !player.isPlaying.value) draw(player.frame.value, null);
    };

    useEffect(() => {
        if (!canvas.current || !videoElement.current) return;
        stage.current = new Stage(canvas.current, width, height);
        const onFrame = (frame: number, image: CanvasImageSource) => {
            const { videoWidth, videoHeight } = videoElement.current!;
            if (videoWidth) stage.current?.setDisplaySize(videoWidth, videoHeight);
            latest.current(frame, image);
            player.shown(frame);
        };
        const useImages = (reason: string) => {
            setNotice(`${reason} Its frames are shown as images, without sound.`);
            player.use(new ImageSource(video.id, times, Math.min(width, IMAGE_WIDTH), onFrame, setNotice));
        };
        if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) {
            player.use(new VideoSource(videoElement.current, times, onFrame, useImages));
        } else {
            useImages("This browser does not tell which frame of a video it shows.");
        }
        const observer = new ResizeObserver(() => redraw.current());
        observer.observe(canvas.current);
        return () => {
            observer.disconnect();
            player.close();
        };
    }, [player]);

    useEffect(() => {
        if (!strip.current) return;
        timeline.current = new Timeline(strip.current, times.count, (frame) => times.at(frame));
        const observer = new ResizeObserver(() => timeline.current?.draw());
        observer.observe(strip.current);
        return () => observer.disconnect();
    }, [times]);
    useEffect(() => timeline.current?.setTracks(tracks), [times, tracks]);

    const frame = player.frame.value;
    const loop = player.loop.value;
    useEffect(() => timeline.current?.update(Math.max(0, frame), selected, loop), [frame, selected, loop]);
    useEffect(() => redraw.current(), [selected, confidence, hasTrails, onlySelected, names, version]);

    /** Chooses a track, or ends the edit that waits for another one. */
    const choose = async (id: number | null) => {
        if (picking === null || selected === null) return setSelected(id);
        setPicking(null);
        if (id === null || id === selected) return;
        if (picking === "swap") {
            await editing.add({ kind: "swap", track: selected, other: id, frame: Math.max(0, frame) });
        } else {
            await editing.add({ kind: "merge", track: id, other: selected });
        }
    };
    const select = (track: api.Track) => {
        void choose(track.tracking_id);
        if (picking === null && (frame < track.first_frame || frame > track.last_frame))
            player.seek(track.first_frame);
    };
    const chosen = tracks.find((track) => track.tracking_id === selected);
    const fullScreen = () =>
        document.fullscreenElement ? document.exitFullscreen() : view.current?.requestFullscreen();
    useKeys({
        " ": () => player.toggle(),
        k: () => player.toggle(),
        j: () => player.step(-10),
        l: () => player.step(10),
        ArrowLeft: () => player.step(-1),
        ArrowRight: () => player.step(1),
        ",": () => player.step(-1),
        ".": () => player.step(1),
        Home: () => player.seek(0),
        End: () => player.seek(times.count - 1),
        "<": () => player.changeRate(-1),
        ">": () => player.changeRate(1),
        "[": () => player.setLoop(frame, loop?.last ?? times.count - 1),
        "]": () => player.setLoop(loop?.first ?? 0, frame),
        "\\": () => (player.loop.value = null),
        "+": () =>
            stage.current?.zoomAt(1.5, canvas.current!.clientWidth / 2, canvas.current!.clientHeight / 2),
        "-": () =>
            stage.current?.zoomAt(1 / 1.5, canvas.current!.clientWidth / 2, canvas.current!.clientHeight / 2),
        "0": () => stage.current?.resetZoom(),
        t: () => setHasTrails(!hasTrails),
        o: () => setOnlySelected(!onlySelected),
        f: () => void fullScreen(),
        Escape: () => (isHelpOpen ? setIsHelpOpen(false) : picking ? setPicking(null) : setSelected(null)),
        "Ctrl+z": () => void editing.undo(),
        "Ctrl+Z": () => void editing.redo(),
        "Ctrl+y": () => void editing.redo(),
        "?": () => setIsHelpOpen(!isHelpOpen),
    });

    const usable = jobs.filter((job) => job.status === "completed");
    const drag = useDrag(
        (dx, dy) => stage.current?.pan(dx, dy),
        (x, y) => void choose(stage.current?.trackAt(x, y) ?? null),
    );
    const stripDrag = useDrag(
        (dx, dy) => timeline.current?.pan(-dx, -dy),
        (x, y) => {
            const track = timeline.current?.trackAt(x, y) ?? null;
            if (track !== null) void choose(track);
            if (picking === null) player.seek(timeline.current?.frameAt(x) ?? 0);
        },
    );

    return (
        <>
            <div class="row game-head">
                <h1>{fileName(video.file_path)}</h1>
                {usable.length > 0 && (
                    <label>
                        Tracks of{" "}
                        <select
                            value={shownJob ?? ""}
                            onChange={(event) => {
                                const job = encodeURIComponent(event.currentTarget.value);
                                location.hash = `#/videos/${video.id}?job=${job}`;
                            }}
                        >
                            {shownJob === null && <option value="">another program</option>}
                            {usable.map((job) => (
                                <option key={job.id} value={job.id}>
                                    {job.metadata.parameters?.prompt ?? "basketball player"} (
                                    {job.id.slice(0, 8)})
                                </option>
                            ))}
                        </select>
                    </label>
                )}
                <Exports videoId={video.id} jobId={shownJob} hasTracks={tracks.length > 0} />
            </div>
            {notice && <Problem text={notice} />}
            <div class="view" ref={view}>
                <div class="stage">
                    <video
                        ref={videoElement}
                        src={`/api/videos/${video.id}/stream`}
                        preload="auto"
                        playsInline
                        disablePictureInPicture
                    />
                    <canvas
                        ref={canvas}
                        role="img"
                        aria-label={`Frame ${frame} with ${counted(tracks.length, "track")}`}
                        onWheel={(event) => {
                            event.preventDefault();
                            stage.current?.zoomAt(
                                event.deltaY < 0 ? 1.2 : 1 / 1.2,
                                event.offsetX,
                                event.offsetY,
                            );
                        }}
                        {...drag}
                    />
                </div>
                <div class="controls row">
                    <button aria-label="Back one frame" onClick={() => player.step(-1)}>
                        ◂
                    </button>
                    <button class="primary" onClick={() => player.toggle()}>
                        {player.isPlaying.value ? "Pause" : "Play"}
                    </button>
                    <button aria-label="Forward one frame" onClick={() => player.step(1)}>
                        ▸
                    </button>
                    <output aria-label="Position">
                        {clock(times.at(Math.max(0, frame)) - times.at(0), 2)} / {clock(times.duration, 2)}
                    </output>
                    <label>
                        Frame{" "}
                        <input
                            class="frame"
                            type="number"
                            min={0}
                            max={times.count - 1}
                            value={Math.max(0, frame)}
                            onChange={(event) => {
                                player.pause();
                                player.seek(Number(event.currentTarget.value) || 0);
                                event.currentTarget.blur();
                            }}
                        />{" "}
                        of {times.count - 1}
                    </label>
                    <span class="hint" aria-live="polite">
                        {frame >= 0 && boxesOf !== frame && "loading boxes…"}
                    </span>
                    <label>
                        Speed{" "}
                        <select
                            value={String(player.rate.value)}
                            onChange={(event) => player.setRate(Number(event.currentTarget.value))}
                        >
                            {RATES.map((rate) => (
                                <option key={rate} value={String(rate)}>
                                    {rate}×
                                </option>
                            ))}
                        </select>
                    </label>
                    <label>
                        Confidence ≥ {confidence.toFixed(2)}{" "}
                        <input
                            type="range"
                            min={0}
                            max={1}
                            step={0.01}
                            value={confidence}
                            onInput={(event) => setConfidence(Number(event.currentTarget.value))}
                        />
                    </label>
                    <label class="inline">
                        <input
                            type="checkbox"
                            checked={hasTrails}
                            onChange={() => setHasTrails(!hasTrails)}
                        />
                        Trails
                    </label>
                    {loop && (
                        <button onClick={() => (player.loop.value = null)}>
                            Loop {loop.first}–{loop.last} ×
                        </button>
                    )}
                    <button onClick={() => setIsHelpOpen(true)}>Keys ?</button>
                </div>
                <canvas
                    class="timeline"
                    ref={strip}
                    role="img"
                    aria-label={`Timeline of ${counted(tracks.length, "track")}`}
                    onWheel={(event) => {
                        event.preventDefault();
                        if (event.shiftKey) timeline.current?.pan(event.deltaY, 0);
                        else timeline.current?.zoomAt(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX);
                    }}
                    {...stripDrag}
                />
            </div>
            <aside class="side">
                <EditBar editing={editing} />
                {chosen && (
                    <TrackPanel
                        track={chosen}
                        tracks={tracks}
                        frame={Math.max(0, frame)}
                        editing={editing}
                        picking={picking}
                        onPick={setPicking}
                        onGone={() => setSelected(null)}
                    />
                )}
                <TrackList
                    tracks={tracks}
                    selected={selected}
                    timeOf={(n) => times.at(n) - times.at(0)}
                    onSelect={select}
                />
            </aside>
            {isHelpOpen && <Help onClose={() => setIsHelpOpen(false)} />}
        </>
    );
}

/** Undo, redo, and what stands in the way of edits. */
function EditBar({ editing }: { editing: Editing }) {
    const { can_undo: canUndo, can_redo: canRedo, edits } = editing.edits.value;
    const lost = edits.filter((edit) => edit.problem !== null);
    const isBusy = editing.isBusy.value;
    return (
        <>
            <div class="row">
                <button disabled={!canUndo || isBusy} onClick={() => void editing.undo()}>
                    Undo
                </button>
                <button disabled={!canRedo || isBusy} onClick={() => void editing.redo()}>
                    Redo
                </button>
                <span class="hint">{counted(edits.filter((edit) => !edit.is_undone).length, "edit")}</span>
            </div>
            {editing.problem.value && <Problem text={editing.problem.value} />}
            {lost.length > 0 && (
                <Problem
                    text={`Other results were imported; ${counted(lost.length, "edit")} no longer fit: ${lost
                        .map((edit) => `${edit.kind} ${edit.track} (${edit.problem})`)
                        .join(", ")}`}
                />
            )}
        </>
    );
}

function Exports({
    videoId,
    jobId,
    hasTracks,
}: {
    videoId: number;
    jobId: string | null;
    hasTracks: boolean;
}) {
    if (!hasTracks) return null;
    const of = jobId === null ? `/api/videos/${videoId}` : `/api/jobs/${encodeURIComponent(jobId)}`;
    return (
        <span class="actions">
            Download{" "}
            {["mot", "coco", "csv"].map((format) => (
                <a key={format} href={`${of}/export?format=${format}`} download>
                    {format.toUpperCase()}
                </a>
            ))}
        </span>
    );
}

/** Where the feet of each visible track have been, newest first. */
function trailsOf(windows: Windows, frame: number, boxes: Box[]): Map<number, [number, number][]> {
    const trails = new Map(boxes.map((box): [number, [number, number][]] => [box.track, []]));
    for (let t = frame; t >= Math.max(0, frame - TRAIL); t--) {
        for (const box of windows.peek(t)) {
            trails.get(box.track)?.push([box.x + box.width / 2, box.y + box.height]);
        }
    }
    return trails;
}

/** Handlers of a canvas that tell a drag from a click. Distances and places are in CSS pixels. */
function useDrag(onDrag: (dx: number, dy: number) => void, onClick: (x: number, y: number) => void) {
    const start = useRef<{ x: number; y: number; hasMoved: boolean } | null>(null);
    return {
        onPointerDown: (event: PointerEvent) => {
            (event.currentTarget as Element).setPointerCapture(event.pointerId);
            start.current = { x: event.clientX, y: event.clientY, hasMoved: false };
        },
        onPointerMove: (event: PointerEvent) => {
            const from = start.current;
            if (!from) return;
            const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
            if (!from.hasMoved && Math.hypot(dx, dy) < 4) return;
            start.current = { x: event.clientX, y: event.clientY, hasMoved: true };
            onDrag(dx, dy);
        },
        onPointerUp: (event: PointerEvent) => {
            if (start.current && !start.current.hasMoved) onClick(event.offsetX, event.offsetY);
            start.current = null;
        },
        onPointerCancel: () => (start.current = null),
    };
}
