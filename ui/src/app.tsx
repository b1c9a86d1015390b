/** The frame of the page: navigation, the log-in, and the page of the current address. */

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import * as api from "./api.ts";
import { GamePage } from "./player/game.tsx";
import { GamesPage } from "./games/games.tsx";
import { JobsPage } from "./jobs/jobs.tsx";

/** Whether the server wants the token; `undefined` until that is known. */
const needsLogIn = signal<boolean | undefined>(undefined);
const route = signal(location.hash);
window.addEventListener("hashchange", () => (route.value = location.hash));
api.setOnUnauthorized(() => (needsLogIn.value = true));

export function App() {
    const [problem, setProblem] = useState("");
    useEffect(() => {
        api.session().then(
            ({ needs_token, is_authorized }) => (needsLogIn.value = needs_token && !is_authorized),
            (error) => setProblem(api.messageOf(error)),
        );
    }, []);
    return (
        <>
            <header class="top">
                <a class="brand" href="#/">
                    Courtside
                </a>
                <nav>
                    <NavLink to="#/">Games</NavLink>
                    <NavLink to="#/jobs">Jobs</NavLink>
                    <a href="/docs/">API</a>
                </nav>
            </header>
            {problem && <Problem text={problem} />}
            {needsLogIn.value === true && <LogIn />}
            {needsLogIn.value === false && <Page />}
        </>
    );
}

function NavLink({ to, children }: { to: string; children: string }) {
    const isCurrent = to === "#/" ? !route.value.startsWith("#/jobs") : route.value.startsWith(to);
    return (
        <a href={to} aria-current={isCurrent ? "page" : undefined}>
            {children}
        </a>
    );
}

function Page() {
    const hash = route.value;
    const game = /^#\/videos\/(\d+)(?:\?job=([^&]+))?/.exec(hash);
    if (game) {
        const job = game[2] === undefined ? null : decodeURIComponent(game[2]);
        return <GamePage key={hash} videoId={Number(game[1])} jobId={job} />;
    }
    return hash.startsWith("#/jobs") ? <JobsPage /> : <GamesPage />;
}

export function Problem({ text }: { text: string }) {
    return (
        <p class="problem" role="alert">
            {text}
        </p>
    );
}

function LogIn() {
    const [problem, setProblem] = useState("");
    const submit = async (event: SubmitEvent) => {
        event.preventDefault();
        const form = new FormData(event.currentTarget as HTMLFormElement);
        try {
            await api.logIn(String(form.get("token")));
            needsLogIn.value = false;
        } catch (error) {
            const isWrong = error instanceof api.ApiError && error.status === 401;
            setProblem(isWrong ? "This is not the server's token." : api.messageOf(error));
        }
    };
    return (
        <main class="log-in">
            <form onSubmit={submit}>
                <h1>Log in</h1>
                <label>
                    Token
                    <input name="token" type="password" autocomplete="current-password" required autofocus />
                </label>
                <p class="hint">It is the value of COURTSIDE_TOKEN where the server was started.</p>
                {problem && <Problem text={problem} />}
                <button class="primary">Log in</button>
            </form>
        </main>
    );
}
