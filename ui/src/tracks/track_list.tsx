/** The tracks of a game: sorted, searched, and chosen. */

import { useMemo, useState } from "preact/hooks";
import type { Track } from "../api.ts";
import { clock, counted, trackColour } from "../text.ts";

const SORTS = {
    "first frame": (a: Track, b: Track) => a.first_frame - b.first_frame,
    "longest first": (a: Track, b: Track) => b.n_detections - a.n_detections,
    "shortest first": (a: Track, b: Track) => a.n_detections - b.n_detections,
    "least certain first": (a: Track, b: Track) => a.mean_confidence - b.mean_confidence,
    id: (a: Track, b: Track) => a.tracking_id - b.tracking_id,
};
/** Rows that are shown at first. */
const PAGE = 200;

export function TrackList(props: {
    tracks: Track[];
    selected: number | null;
    timeOf: (frame: number) => number;
    onSelect: (track: Track) => void;
}) {
    const [sort, setSort] = useState<keyof typeof SORTS>("first frame");
    const [search, setSearch] = useState("");
    const [limit, setLimit] = useState(PAGE);
    const found = useMemo(() => {
        const wanted = search.trim().toLowerCase();
        const matching = props.tracks.filter(({ tracking_id: id, name, team }) =>
            [String(id), name, team].some((text) => text?.toLowerCase().includes(wanted)),
        );
        return matching.sort((a, b) => SORTS[sort](a, b) || a.tracking_id - b.tracking_id);
    }, [props.tracks, sort, search]);
    return (
        <section class="tracks" aria-label="Tracks">
            <div class="row">
                <h2>{counted(props.tracks.length, "track")}</h2>
                <label>
                    <span class="visually-hidden">Sort by</span>
                    <select
                        value={sort}
                        onChange={(event) => setSort(event.currentTarget.value as typeof sort)}
                    >
                        {Object.keys(SORTS).map((name) => (
                            <option key={name}>{name}</option>
                        ))}
                    </select>
                </label>
            </div>
            <input
                type="search"
                placeholder="Find an id, name or team"
                aria-label="Find an id, name or team"
                value={search}
                onInput={(event) => setSearch(event.currentTarget.value)}
            />
            <ul>
                {found.slice(0, limit).map((track) => (
                    <li key={track.tracking_id}>
                        <button
                            class="track"
                            aria-pressed={track.tracking_id === props.selected}
                            onClick={() => props.onSelect(track)}
                        >
                            <span class="swatch" style={{ background: trackColour(track.tracking_id) }} />
                            <strong title={track.team ?? undefined}>{track.name ?? track.tracking_id}</strong>
                            <span>
                                {clock(props.timeOf(track.first_frame))}–
                                {clock(props.timeOf(track.last_frame))}
                            </span>
                            <span class="hint">{counted(track.n_detections, "frame")}</span>
                            <span class="hint">{track.mean_confidence.toFixed(2)}</span>
                        </button>
                    </li>
                ))}
            </ul>
            {found.length > limit && <button onClick={() => setLimit(limit + PAGE)}>Show more</button>}
        </section>
    );
}
