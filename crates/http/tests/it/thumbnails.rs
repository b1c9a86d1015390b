//! `/thumbnail`: a picture that shows something, made once for each version of a file.

use super::clips::{make, set_rotation};
use super::frames::{H264, add, picture};
use super::test_server::{TestServer, file_names};

/// The brightest and the darkest value of a picture.
fn extremes(rgb: &[u8]) -> (u8, u8) {
    (*rgb.iter().min().unwrap(), *rgb.iter().max().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_not_the_black_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    for (name, black) in [("beginning.mp4", "lt(n,60)"), ("most.mp4", "lt(n,115)"), ("end.mkv", "gt(n,60)")] {
        let darkened = format!("-vf drawbox=c=black:t=fill:enable='{black}' {H264}");
        let path = make(folder.path(), 150, &darkened, name);
        let id = add(&server, &path);
        let picture = picture(&server.get(&format!("/api/videos/{id}/thumbnail")).await);
        assert_eq!((picture.width, picture.height), (320, 240));
        let (darkest, brightest) = extremes(&picture.rgb);
        assert!(brightest > 180 && darkest < 70, "{name}: {darkest} to {brightest}");
    }
    // A video that is black has a black thumbnail.
    let path = make(folder.path(), 20, &format!("-vf drawbox=c=black:t=fill {H264}"), "black.mp4");
    let id = add(&server, &path);
    let picture = picture(&server.get(&format!("/api/videos/{id}/thumbnail")).await);
    assert!(extremes(&picture.rgb).1 < 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_has_the_shape_that_a_player_shows() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    let path = make(folder.path(), 20, &format!("-vf setsar=1/2 {H264}"), "narrow.mp4");
    let id = add(&server, &path);
    let narrow = picture(&server.get(&format!("/api/videos/{id}/thumbnail?width=80")).await);
    assert_eq!((narrow.width, narrow.height), (80, 120));
    let path = make(folder.path(), 20, H264, "turned.mp4");
    set_rotation(&path, [0, 1, -1, 0]);
    let id = add(&server, &path);
    let turned = picture(&server.get(&format!("/api/videos/{id}/thumbnail?width=120")).await);
    assert_eq!((turned.width, turned.height), (120, 160));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_made_once_for_each_version_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    let path = make(folder.path(), 20, H264, "a.mp4");
    let id = add(&server, &path);
    let address = format!("/api/videos/{id}/thumbnail");
    let first = server.get(&address).await;
    let tag = first.header("etag").to_owned();
    let kept = server.video_folder().join(".courtside/images");
    let names = file_names(&kept);
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(std::fs::read(kept.join(&names[0])).unwrap(), first.body);
    // The kept file is served, also by a server that is started later.
    std::fs::write(kept.join(&names[0]), "the kept file").unwrap();
    let server = server.restarted();
    assert_eq!(server.get(&address).await.text(), "the kept file");
    let again = server.get_with(&address, &[("if-none-match", &*tag)]).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    // Another width, and another file at the same path.
    assert_eq!(picture(&server.get(&format!("{address}?width=100")).await).width, 100);
    make(folder.path(), 25, H264, "b.mp4");
    std::fs::rename(folder.path().join("b.mp4"), &path).unwrap();
    let changed = server.get_with(&address, &[("if-none-match", &*tag)]).await;
    assert_eq!(picture(&changed).width, 320);
    assert_ne!(changed.header("etag"), tag);
    // The folder may be removed at any time.
    std::fs::remove_dir_all(&kept).unwrap();
    assert_eq!(server.get(&address).await.body, changed.body);
    assert_eq!(file_names(&kept).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameters_of_thumbnails_are_reported() {
    let server = TestServer::new();
    for (query, want) in [
        ("width=0", "query.width greater_than_equal"),
        ("width=1281", "query.width less_than_equal"),
        ("width=large", "query.width int_parsing"),
        ("size=5", "query.size extra_forbidden"),
    ] {
        assert_eq!(server.get(&format!("/api/videos/1/thumbnail?{query}")).await.issues(), [want], "{query}");
    }
}
