//! Tests of objects, conditions, lists and permissions.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use object_store::{Error, ListResult};
use s3_fixture::{Access, ConditionalWrites, FakeR2, FakeR2Options, Op};

use crate::support::{client, put_if, replace, text};

#[tokio::test]
async fn conditional_writes_behave_like_r2() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let first = put_if(&client, "k", "1", PutMode::Create).await.unwrap();
    // MD5 of "1", quoted.
    assert_eq!(first, "\"c4ca4238a0b923820dcc509a6f75849b\"");
    let again = put_if(&client, "k", "2", PutMode::Create).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    let second = put_if(&client, "k", "2", replace(&first)).await.unwrap();
    let stale = put_if(&client, "k", "3", replace(&first)).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    let missing = put_if(&client, "no", "3", replace(&second)).await;
    assert!(matches!(missing, Err(Error::Precondition { .. })), "{missing:?}");
    let unquoted = put_if(&client, "k", "3", replace(second.trim_matches('"'))).await;
    assert!(matches!(unquoted, Err(Error::Precondition { .. })), "{unquoted:?}");
    assert_eq!(text(&client, "k").await.unwrap(), "2");
    assert_eq!(server.keys(), ["k"]);
    // Equal content has an equal tag, so the first tag is valid again.
    put_if(&client, "k", "1", replace(&second)).await.unwrap();
    put_if(&client, "k", "4", replace(&first)).await.unwrap();
}

#[tokio::test]
async fn exactly_one_of_many_writers_wins_each_round() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let mut etag = put_if(&client, "k", "0", PutMode::Create).await.unwrap();
    for round in 0..10 {
        let put = |writer: usize| {
            let (client, mode) = (client.clone(), replace(&etag));
            let body = PutPayload::from(format!("{round} {writer}"));
            async move { client.put_opts(&"k".into(), body, PutOptions::from(mode)).await }
        };
        let outcomes: Vec<_> = futures::future::join_all((0..16).map(put)).await;
        let won: Vec<_> = outcomes.into_iter().filter_map(Result::ok).collect();
        assert_eq!(won.len(), 1, "round {round}");
        etag = won[0].e_tag.clone().unwrap();
    }
}

#[tokio::test]
async fn conditions_can_be_ignored_or_require_unquoted_tags() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let etag = put_if(&client, "k", "1", PutMode::Create).await.unwrap();
    server.set_conditional_writes(ConditionalWrites::UnquotedOnly);
    put_if(&client, "k", "2", PutMode::Create).await.unwrap_err();
    put_if(&client, "k", "2", replace(&etag)).await.unwrap_err();
    put_if(&client, "k", "2", replace(etag.trim_matches('"'))).await.unwrap();
    server.set_conditional_writes(ConditionalWrites::Ignored);
    put_if(&client, "k", "3", PutMode::Create).await.unwrap();
    put_if(&client, "k", "4", replace(&etag)).await.unwrap();
    put_if(&client, "new", "5", replace(&etag)).await.unwrap();
}

#[tokio::test]
async fn reads_honour_ranges_and_conditions() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let (k, nothing) = (Path::from("k"), Path::from("nothing"));
    let etag = put_if(&client, "k", "0123456789", PutMode::Create).await.unwrap();
    assert_eq!(client.get_range(&k, 2..5).await.unwrap(), "234");
    assert_eq!(client.get_range(&k, 8..50).await.unwrap(), "89");
    client.get_range(&k, 10..12).await.unwrap_err();
    let head = client.head(&k).await.unwrap();
    assert_eq!((head.size, head.e_tag.as_deref()), (10, Some(etag.as_str())));
    assert!(matches!(client.head(&nothing).await, Err(Error::NotFound { .. })));
    assert!(matches!(client.get(&nothing).await, Err(Error::NotFound { .. })));
    let get = |options| client.get_opts(&k, options);
    let options = GetOptions { if_match: Some("\"other\"".into()), ..GetOptions::default() };
    assert!(matches!(get(options).await, Err(Error::Precondition { .. })));
    let options = GetOptions { if_none_match: Some(etag.clone()), ..GetOptions::default() };
    assert!(matches!(get(options).await, Err(Error::NotModified { .. })));
    let options = GetOptions { if_match: Some(etag), range: Some((0..1).into()), ..GetOptions::default() };
    assert_eq!(get(options).await.unwrap().bytes().await.unwrap(), "0");
}

#[tokio::test]
async fn objects_keep_unusual_keys_types_and_metadata() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let key = Path::parse("über & <b>/a+b c%20'\"?#.json").unwrap();
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, "application/json".into());
    attributes.insert(Attribute::Metadata("courtside".into()), "7".into());
    let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
    client.put_opts(&key, PutPayload::from("x"), options).await.unwrap();
    assert_eq!(client.get(&key).await.unwrap().attributes, attributes);
    let listed: Vec<_> = client.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&key));
    assert_eq!(server.keys(), [key.to_string()]);
    let deleted: Vec<_> =
        client.delete_stream(futures::stream::iter([Ok(key)]).boxed()).try_collect().await.unwrap();
    assert_eq!((deleted.len(), server.keys().len()), (1, 0));
}

#[tokio::test]
async fn lists_2300_keys_in_three_ordered_pages() {
    let server = FakeR2::start();
    let mut expected = Vec::new();
    for i in (0..2300).rev() {
        let etag = server.put(&format!("jobs/{i}.json"), i.to_string());
        expected.push((format!("jobs/{i}.json"), Some(format!("\"{etag}\""))));
    }
    server.put("jobs0", "not below jobs/");
    expected.sort();
    let client = client(server.connection());
    let listed: Vec<_> = client.list(Some(&"jobs".into())).try_collect().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|meta| (meta.location.to_string(), meta.e_tag)).collect();
    assert_eq!(listed, expected);
    assert_eq!(server.counts().of(Op::ListObjects), 3);
    assert_eq!((server.counts().class_a(), server.counts().class_b()), (3, 0));

    let after: Vec<_> = client.list_with_offset(None, &"jobs/998.json".into()).try_collect().await.unwrap();
    let after: Vec<_> = after.iter().map(|meta| meta.location.as_ref()).collect();
    assert_eq!(after, ["jobs/999.json", "jobs0"]);
    let ListResult { objects, common_prefixes, .. } = client.list_with_delimiter(None).await.unwrap();
    assert_eq!((objects.len(), common_prefixes), (1, vec!["jobs".into()]));
    server.set_max_page_size(1);
    let ListResult { objects, common_prefixes, .. } = client.list_with_delimiter(None).await.unwrap();
    assert_eq!((objects.len(), common_prefixes), (1, vec!["jobs".into()]));
}

#[tokio::test]
async fn deleting_is_unconditional_and_free() {
    let server = FakeR2::start();
    let client = client(server.connection());
    server.put("k", "1");
    client.delete(&"k".into()).await.unwrap();
    client.delete(&"k".into()).await.unwrap();
    assert!(server.object("k").is_none());
    assert_eq!((server.counts().class_a(), server.counts().class_b(), server.counts().total()), (0, 0, 2));
}

#[tokio::test]
async fn requests_without_permission_are_rejected() {
    let server = FakeR2::start();
    server.put("k", "1");
    let good = client(server.connection());
    let mut other = server.connection().clone();
    other.access_key_id = "other".to_owned();
    let error = text(&client(&other), "k").await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated { .. }), "{error:?}");
    other = server.connection().clone();
    other.bucket = "other".to_owned();
    let error = client(&other).list(None).next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");

    server.set_access(Access::ReadOnly);
    assert_eq!(text(&good, "k").await.unwrap(), "1");
    let error = put_if(&good, "k", "2", PutMode::Overwrite).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
    good.delete(&"k".into()).await.unwrap_err();
    for (access, code) in [
        (Access::None, "AccessDenied"),
        (Access::WrongSecret, "SignatureDoesNotMatch"),
        (Access::UnknownKey, "Unauthorized"),
    ] {
        server.set_access(access);
        let error = text(&good, "k").await.unwrap_err();
        assert!(format!("{error:?}").contains(code), "{error:?}");
    }
}

#[tokio::test]
async fn writes_of_one_key_are_rate_limited() {
    let server = FakeR2::start();
    // An hour, so that the test's writes are within the interval on any machine.
    server.set_min_write_interval(Duration::from_secs(3600));
    let client = client(server.connection());
    put_if(&client, "k", "1", PutMode::Create).await.unwrap();
    let error = put_if(&client, "k", "2", PutMode::Overwrite).await.unwrap_err();
    assert!(format!("{error:?}").contains("TooManyRequests"), "{error:?}");
    put_if(&client, "other", "1", PutMode::Create).await.unwrap();
    server.set_min_write_interval(Duration::ZERO);
    put_if(&client, "k", "2", PutMode::Overwrite).await.unwrap();
}

#[tokio::test]
async fn unsupported_requests_are_rejected() {
    let options = FakeR2Options { access_key_id: None, ..FakeR2Options::default() };
    let server = FakeR2::start_with(options);
    let client = client(server.connection());
    server.put("k", "1");
    let error = client.copy(&"k".into(), &"l".into()).await.unwrap_err();
    assert!(format!("{error:?}").contains("501"), "{error:?}");
    assert_eq!(server.keys(), ["k"]);
    let url = format!("{}/courtside-test/k", server.connection().endpoint);
    let http = reqwest::Client::new();
    for (request, what) in [
        (http.get(format!("{url}?versionId=1")), "versionId"),
        (http.put(&url).header("content-encoding", "aws-chunked").body("2"), "aws-chunked"),
        (http.patch(&url), "operation"),
        (http.get(format!("{}/courtside-test", server.connection().endpoint)), "operation"),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 501);
        let body = response.text().await.unwrap();
        assert!(body.contains("<Code>NotImplemented</Code>") && body.contains(what), "{body}");
    }
    let request = http.put(&url).header("x-amz-content-sha256", "0".repeat(64)).body("2");
    assert_eq!(request.send().await.unwrap().status(), 400);
    assert_eq!(server.object("k").unwrap().body, "1");
}
