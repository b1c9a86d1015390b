import { useEffect, useRef } from "preact/hooks";

const KEYS = [
    ["Space, K", "play or pause"],
    ["← →, comma and point", "one frame back or forward"],
    ["J L", "ten frames back or forward"],
    ["Home End", "first or last frame"],
    ["< >", "slower or faster"],
    ["[ ] \\", "start of the loop, end of the loop, no loop"],
    ["+ − 0", "zoom in, zoom out, whole picture"],
    ["T", "trails"],
    ["O", "only the chosen track"],
    ["F", "full screen"],
    ["Escape", "choose no track"],
    ["Ctrl+Z, Ctrl+Shift+Z", "undo or redo an edit"],
    ["?", "this list"],
];

export function Help({ onClose }: { onClose: () => void }) {
    const dialog = useRef<HTMLDialogElement>(null);
    useEffect(() => dialog.current?.showModal(), []);
    return (
        <dialog ref={dialog} onClose={onClose} aria-label="Keys">
            <h2>Keys</h2>
            <table>
                <tbody>
                    {KEYS.map(([keys, what]) => (
                        <tr key={keys}>
                            <th scope="row">{keys}</th>
                            <td>{what}</td>
                        </tr>
                    ))}
                </tbody>
            </table>
            <p class="hint">
                Click a box or a lane to choose its track. Turn the wheel to zoom, drag to move, in the
                picture and in the timeline.
            </p>
            <p class="hint">
                <a href="/assets/licenses.md">Licences</a> of the libraries in this page
            </p>
            <button onClick={() => dialog.current?.close()}>Close</button>
        </dialog>
    );
}
