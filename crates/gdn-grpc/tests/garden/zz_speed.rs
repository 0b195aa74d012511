use crate::world::*; use gdn_proto::garden; use std::time::Instant;
#[tokio::test(flavor="multi_thread")]
async fn speed() {
    let engine = Engine::start().await; engine.container("a").await;
    let mut client = engine.client().await;
    for i in 0..3 {
    let t = Instant::now(); let mut n = 0;
    let mut told = client.run(tokio_stream::iter([script("a", &format!("p{i}"), "exec head -c 1000000000 /dev/zero")])).await.unwrap().into_inner();
    let mut m=0;
    while let Some(r) = told.message().await.unwrap() { m+=1; if let Some(garden::run_response::Message::Stdout(o)) = r.message { n += o.data.len(); } }
    eprintln!("RUN {n} bytes {m} messages {:?}", t.elapsed());
    }
    let path = engine.dir.path().join("tar").display().to_string();
    for i in 0..2 {
    let t = Instant::now();
    let s = garden::StreamInRequest { message: Some(garden::stream_in_request::Message::Start(garden::StreamInStart{handle:"a".into(), path: path.clone(), user: "".into()}))};
    let c = bytes::Bytes::from(vec![7u8; 256*1024]);
    let chunks = (0..2000).map(move |_| garden::StreamInRequest { message: Some(garden::stream_in_request::Message::Chunk(c.clone())) });
    let e = garden::StreamInRequest { message: Some(garden::stream_in_request::Message::Chunk(crate::host::TAR_END.to_vec().into())) };
    client.stream_in(tokio_stream::iter(std::iter::once(s).chain(chunks).chain([e]))).await.unwrap();
    eprintln!("IN 524 MB {:?} {i}", t.elapsed());
    let t = Instant::now(); let mut n=0;
    let mut o = client.stream_out(garden::StreamOutRequest{handle:"a".into(), path: path.clone(), user:"".into()}).await.unwrap().into_inner();
    while let Some(r) = o.message().await.unwrap() { n += r.chunk.len(); }
    eprintln!("OUT {n} {:?}", t.elapsed());
    }
    let t = Instant::now(); for _ in 0..2000 { client.ping(garden::PingRequest{}).await.unwrap(); } eprintln!("PING {:?}", t.elapsed()/2000);
}
