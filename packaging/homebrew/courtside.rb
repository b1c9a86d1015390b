# The template of the formula: scripts/release/formula.py replaces the words in @, and a release has the result.
class Courtside < Formula
  desc "Track every player through an hour-long game with SAM3"
  homepage "https://github.com/@REPOSITORY@"
  version "@VERSION@"
  license "Apache-2.0"

  depends_on "ffmpeg"

  on_macos do
    depends_on arch: :arm64
    url "https://github.com/@REPOSITORY@/releases/download/v@VERSION@/courtside-@VERSION@-aarch64-apple-darwin.tar.gz"
    sha256 "@SHA256:aarch64-apple-darwin@"
  end

  on_linux do
    on_intel do
      url "https://github.com/@REPOSITORY@/releases/download/v@VERSION@/courtside-@VERSION@-x86_64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:x86_64-unknown-linux-gnu@"
    end
    on_arm do
      url "https://github.com/@REPOSITORY@/releases/download/v@VERSION@/courtside-@VERSION@-aarch64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:aarch64-unknown-linux-gnu@"
    end
  end

  def install
    bin.install "courtside"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/courtside.bash" => "courtside"
    zsh_completion.install "completions/_courtside"
    fish_completion.install "completions/courtside.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/courtside --version")
  end
end
