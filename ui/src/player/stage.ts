/** Draws a frame and its boxes on one canvas, so that the two always belong together. */

import { trackColour } from "../text.ts";
import type { Box } from "../tracks/windows.ts";

/** What is drawn over the frame. */
export interface Overlay {
    boxes: Box[];
    selected: number | null;
    /** Names of tracks that have one. */
    names: Map<number, string>;
    /** Earlier positions of each track, newest first: the middle of the lower edge, in source pixels. */
    trails: Map<number, [number, number][]>;
}

/** Whether an image is a copy of a frame of a video. Browsers may not have the type. */
function isVideoFrame(image: CanvasImageSource | null): image is VideoFrame {
    return "VideoFrame" in globalThis && image instanceof VideoFrame;
}

export class Stage {
    private zoom = 1;
    /** What is in the middle of the canvas, in source pixels. */
    private centre: [number, number];
    private image: CanvasImageSource | null = null;
    private overlay: Overlay = { boxes: [], selected: null, names: new Map(), trails: new Map() };

    /** `width` and `height` are those of the video in source pixels, in which boxes are given. */
    constructor(
        private readonly canvas: HTMLCanvasElement,
        private readonly width: number,
        private readonly height: number,
        /** Shape of a source pixel: width over height. */
        private pixelShape = 1,
    ) {
        this.centre = [width / 2, height / 2];
    }

    /** Take the shape of pixels from a picture that has been stretched to square ones. */
    setDisplaySize(width: number, height: number): void {
        this.pixelShape = (width / height) * (this.height / this.width);
    }

    draw(image: CanvasImageSource | null, overlay: Overlay): void {
        if (image && image !== this.image) {
            if (this.image instanceof ImageBitmap || isVideoFrame(this.image)) this.image.close();
            this.image = image;
        }
        this.overlay = overlay;
        this.redraw();
    }

    redraw(): void {
        const { canvas } = this;
        const ratio = window.devicePixelRatio || 1;
        const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
        if (canvas.width !== width || canvas.height !== height) {
            canvas.width = width!;
            canvas.height = height!;
        }
        const context = canvas.getContext("2d", { alpha: false });
        if (!context) return;
        const [scaleX, scaleY, left, top] = this.transform();
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.fillStyle = "#0b0d0f";
        context.fillRect(0, 0, canvas.width, canvas.height);
        if (this.image) context.drawImage(this.image, left, top, this.width * scaleX, this.height * scaleY);
        const place = (x: number, y: number): [number, number] => [left + x * scaleX, top + y * scaleY];
        context.lineJoin = "round";
        this.drawTrails(context, place, ratio);
        // The chosen one is drawn last, over the others.
        const isChosen = (box: Box) => box.track === this.overlay.selected;
        for (const box of this.overlay.boxes) if (!isChosen(box)) this.drawBox(context, box, place, ratio);
        for (const box of this.overlay.boxes) if (isChosen(box)) this.drawBox(context, box, place, ratio);
    }

    /** The track at a point of the canvas in CSS pixels: of several, the smallest box. */
    trackAt(x: number, y: number): number | null {
        const [px, py] = this.toSource(x, y);
        const hits = this.overlay.boxes.filter(
            (box) => px >= box.x && px <= box.x + box.width && py >= box.y && py <= box.y + box.height,
        );
        hits.sort((a, b) => a.width * a.height - b.width * b.height);
        return hits[0]?.track ?? null;
    }

    /** Zoom by a factor around a point of the canvas in CSS pixels. */
    zoomAt(factor: number, x: number, y: number): void {
        const before = this.toSource(x, y);
        this.zoom = Math.min(20, Math.max(1, this.zoom * factor));
        const after = this.toSource(x, y);
        this.moveCentre(before[0] - after[0], before[1] - after[1]);
    }

    /** Move the picture by CSS pixels. */
    pan(dx: number, dy: number): void {
        const ratio = window.devicePixelRatio || 1;
        const [scaleX, scaleY] = this.transform();
        this.moveCentre((-dx * ratio) / scaleX, (-dy * ratio) / scaleY);
    }

    resetZoom(): void {
        this.zoom = 1;
        this.centre = [this.width / 2, this.height / 2];
        this.redraw();
    }

    get isZoomed(): boolean {
        return this.zoom > 1;
    }

    private moveCentre(dx: number, dy: number): void {
        const half = 0.5 / this.zoom;
        const keep = (value: number, size: number) =>
            Math.min(size * (1 - half), Math.max(size * half, value));
        this.centre = [keep(this.centre[0] + dx, this.width), keep(this.centre[1] + dy, this.height)];
        this.redraw();
    }

    /** Canvas pixels per source pixel in both directions, and where the picture's corner is. */
    private transform(): [number, number, number, number] {
        const { canvas, width, height, pixelShape } = this;
        const fit = Math.min(canvas.width / (width * pixelShape), canvas.height / height);
        const [scaleX, scaleY] = [fit * this.zoom * pixelShape, fit * this.zoom];
        const left = canvas.width / 2 - this.centre[0] * scaleX;
        const top = canvas.height / 2 - this.centre[1] * scaleY;
        return [scaleX, scaleY, left, top];
    }

    private toSource(x: number, y: number): [number, number] {
        const ratio = window.devicePixelRatio || 1;
        const [scaleX, scaleY, left, top] = this.transform();
        return [(x * ratio - left) / scaleX, (y * ratio - top) / scaleY];
    }

    private drawBox(
        context: CanvasRenderingContext2D,
        box: Box,
        place: (x: number, y: number) => [number, number],
        ratio: number,
    ): void {
        const isSelected = box.track === this.overlay.selected;
        const [left, top] = place(box.x, box.y);
        const [right, bottom] = place(box.x + box.width, box.y + box.height);
        context.globalAlpha = this.overlay.selected === null || isSelected ? 1 : 0.45;
        context.strokeStyle = trackColour(box.track);
        context.lineWidth = (isSelected ? 3.5 : 2) * ratio;
        context.strokeRect(left, top, right - left, bottom - top);
        const label = this.overlay.names.get(box.track) ?? String(box.track);
        context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
        const labelWidth = context.measureText(label).width + 8 * ratio;
        context.fillStyle = trackColour(box.track);
        context.fillRect(left - ratio, top - 17 * ratio, labelWidth, 17 * ratio);
        context.fillStyle = "#101214";
        context.fillText(label, left + 3 * ratio, top - 4 * ratio);
        context.globalAlpha = 1;
    }

    private drawTrails(
        context: CanvasRenderingContext2D,
        place: (x: number, y: number) => [number, number],
        ratio: number,
    ): void {
        context.lineWidth = 2 * ratio;
        for (const [track, points] of this.overlay.trails) {
            context.strokeStyle = trackColour(track);
            context.globalAlpha = 0.8;
            context.beginPath();
            points.forEach(([x, y], i) => {
                const at = place(x, y);
                if (i === 0) context.moveTo(...at);
                else context.lineTo(...at);
            });
            context.stroke();
        }
        context.globalAlpha = 1;
    }
}
