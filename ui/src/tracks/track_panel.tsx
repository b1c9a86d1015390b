/** What can be done with the chosen track. */

import { useEffect, useState } from "preact/hooks";
import type { Edit, Track } from "../api.ts";
import type { Editing } from "./editing.ts";

/** The kind of edit for which another track is to be chosen. */
export type Picking = "merge" | "swap" | null;

export function TrackPanel(props: {
    track: Track;
    tracks: Track[];
    frame: number;
    editing: Editing;
    picking: Picking;
    onPick: (picking: Picking) => void;
    /** Called when the track is gone. */
    onGone: () => void;
}) {
    const { track, frame, editing, picking } = props;
    const id = track.tracking_id;
    const [name, setName] = useState(track.name ?? "");
    const [team, setTeam] = useState(track.team ?? "");
    useEffect(() => {
        setName(track.name ?? "");
        setTeam(track.team ?? "");
    }, [id, track.name, track.team]);
    const add = (edit: Edit) => editing.add(edit);
    const save = async (event: SubmitEvent) => {
        event.preventDefault();
        (document.activeElement as HTMLElement | null)?.blur();
        if (name !== (track.name ?? "")) await add({ kind: "name", track: id, name: name || null });
        if (team !== (track.team ?? "")) await add({ kind: "team", track: id, team: team || null });
    };
    const known = (of: (track: Track) => string | null) => [...new Set(props.tracks.map(of))].filter(Boolean);
    const canSplit = frame > track.first_frame && frame <= track.last_frame;
    const isBusy = editing.isBusy.value;
    return (
        <section class="panel" aria-label={`Track ${id}`}>
            <form onSubmit={save}>
                <label>
                    Name
                    <input
                        value={name}
                        maxLength={100}
                        list="names"
                        onInput={(event) => setName(event.currentTarget.value)}
                    />
                </label>
                <label>
                    Team
                    <input
                        value={team}
                        maxLength={100}
                        list="teams"
                        onInput={(event) => setTeam(event.currentTarget.value)}
                    />
                </label>
                <datalist id="names">
                    {known((t) => t.name).map((text) => (
                        <option key={text} value={text!} />
                    ))}
                </datalist>
                <datalist id="teams">
                    {known((t) => t.team).map((text) => (
                        <option key={text} value={text!} />
                    ))}
                </datalist>
                <button disabled={isBusy || (name === (track.name ?? "") && team === (track.team ?? ""))}>
                    Save
                </button>
            </form>
            <div class="row">
                <button
                    disabled={isBusy}
                    aria-pressed={picking === "merge"}
                    onClick={() => props.onPick(picking === "merge" ? null : "merge")}
                >
                    Merge with…
                </button>
                <button
                    disabled={isBusy || !canSplit}
                    onClick={() => add({ kind: "split", track: id, frame })}
                >
                    Split here
                </button>
                <button
                    disabled={isBusy}
                    aria-pressed={picking === "swap"}
                    onClick={() => props.onPick(picking === "swap" ? null : "swap")}
                >
                    Swap from here…
                </button>
                <button
                    disabled={isBusy}
                    onClick={async () => (await add({ kind: "delete", track: id })) && props.onGone()}
                >
                    Delete
                </button>
            </div>
            {picking && (
                <p class="hint" role="status">
                    {picking === "merge"
                        ? "Choose the track that is the same player: click its box, lane or row."
                        : `Choose the track to exchange with ${id} from frame ${frame} on.`}
                </p>
            )}
        </section>
    );
}
