import { defineConfig } from "vite";

export default defineConfig({
    build: {
        outDir: "dist/page",
        emptyOutDir: true,
        assetsInlineLimit: 0,
        modulePreload: { polyfill: false },
        license: { fileName: "assets/licenses.md" },
    },
    // `npm run dev` shows the page of a server that runs with `courtside serve`.
    server: { proxy: { "/api": "http://127.0.0.1:8000", "/healthz": "http://127.0.0.1:8000" } },
});
