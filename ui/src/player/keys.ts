/** Keys of the player. */

import { useEffect, useRef } from "preact/hooks";

/** Runs the action of a key, such as "t" or "Ctrl+z", that is pressed while nothing is typed into a field. */
export function useKeys(actions: Record<string, () => void>): void {
    const latest = useRef(actions);
    latest.current = actions;
    useEffect(() => {
        const press = (event: KeyboardEvent) => {
            const target = event.target as HTMLElement;
            const isField = target.matches("input:not([type=range], [type=checkbox]), select, textarea");
            const isButton = target.matches("button, a, summary") && event.key === " ";
            if (isField || isButton || event.altKey) return;
            const modifier = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
            const action = latest.current[modifier + event.key];
            if (!action) return;
            event.preventDefault();
            action();
        };
        window.addEventListener("keydown", press);
        return () => window.removeEventListener("keydown", press);
    }, []);
}
