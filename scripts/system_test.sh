# Parts of the tests that run workers on real infrastructure (test_slurm.sh, test_image.sh): sourced by them, in the root of
# the repository, with `courtside`, `fake_r2`, `folder` (temporary), `library` and `secret` set.
# shellcheck shell=bash disable=SC2154

fail() {
    echo "error: $1" >&2
    exit 1
}

step() {
    echo "$(basename "$0" .sh): ${SECONDS} s: $1"
}

# wait_for SECONDS WHAT COMMAND...: repeat a command until it succeeds; end the test if it never does.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "waited in vain for $what"
        sleep 0.2
    done
}

# The program as a user runs it, in the folder of the library.
run() {
    (cd "$library" && "$courtside" "$@")
}

# The clip of the fixture, forwards and backwards, and again $1 times.
make_video() {
    ffmpeg -v error -i fixtures/wide/clip.mkv -filter_complex '[0]split[a][b];[b]reverse[c];[a][c]concat' \
        -c:v libx264rgb -qp 0 -preset ultrafast "$folder/twice.mkv"
    ffmpeg -v error -stream_loop "$1" -i "$folder/twice.mkv" -c copy "$folder/game.mkv"
}

# Submit the video as a job of its own, and print the id of the job.
submit_video() {
    run --json submit "$folder/game.mkv" --prompt ball --again | sed -nE 's/.*"job_id": ?"([^"]*)".*/\1/p'
}

# Start the S3 server, and write the settings for it to the library's .env.
start_bucket() {
    mkdir "$library"
    (cd "$folder" && exec "$fake_r2" --bucket games) >"$folder/fake-r2.json" &
    disown
    wait_for 20 "the S3 server" test -s "$folder/fake-r2.json"
    endpoint=$(sed -E 's/.*"endpoint":"([^"]*)".*/\1/' "$folder/fake-r2.json")
    (
        umask 077
        printf '%s\n' "R2_ENDPOINT_URL=$endpoint" R2_BUCKET_NAME=games R2_ACCESS_KEY_ID=key \
            "R2_SECRET_ACCESS_KEY=$secret" >"$library/.env"
    )
}

object() {
    curl -fsS "$endpoint/games/$1"
}

# Results without what differs between two jobs.
canonical() {
    sed -E '1s/"(job_id|video_id|completed_at|attempt|claim_id)": ?("[^"]*"|[0-9]+),//g'
}
