/** How values are written. */

/** "1 track", "2 tracks". */
export function counted(n: number, noun: string): string {
    return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

/** Seconds as "3:07" or "1:02:45", with `decimals` of a second. */
export function clock(seconds: number, decimals = 0): string {
    const whole = Math.floor(seconds);
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    const rest = (seconds - 60 * Math.floor(seconds / 60)).toFixed(decimals);
    const padded = rest.padStart(decimals ? decimals + 3 : 2, "0");
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${padded}` : `${minutes}:${padded}`;
}

/** The last part of a path of either kind of system. */
export function fileName(path: string): string {
    return path.split(/[/\\]/).at(-1) || path;
}

/** The colour of a track: the same wherever it is shown, and far from those of tracks with similar ids. */
export function trackColour(id: number): string {
    const hue = (id * 137.508) % 360;
    const light = 58 + 12 * (Math.floor(id / 7) % 3);
    return `hsl(${hue.toFixed(1)} 85% ${light}%)`;
}
