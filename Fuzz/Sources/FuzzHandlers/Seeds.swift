// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// Writes what the fuzzer begins with: an input for every template of every topic, and a few longer ones. `FuzzHandlers --seeds DIRECTORY`.
@_cdecl("fuzz_write_seeds")
public func writeSeeds(_ directory: UnsafePointer<CChar>) -> CInt {
  let directory = String(cString: directory)
  for (_, topic) in Topics.all {
    for variant in Template.of(topic).indices {
      let name = topic == "$shell" ? "stdin" : topic
      guard write(seed(topic, variant), "\(directory)/\(name)-\(variant)") else { return 1 }
    }
  }
  for (name, seed) in longer where !write(seed, "\(directory)/\(name)") { return 1 }
  return 0
}

private func write(_ bytes: [UInt8], _ path: String) -> Bool {
  guard let file = fopen(path, "w") else { return false }
  defer { fclose(file) }
  return fwrite(bytes, 1, bytes.count, file) == bytes.count
}

/// The configuration of the instance: four nodes, no queues.
private let start: [UInt8] = [0]
/// The same with queues, which are stopped.
private let startWithQueues: [UInt8] = [8]

/// A request as its template says, to the first job, from the first client.
private func request(_ topic: String, _ variant: Int = 0, jobspec: UInt8 = 0, client: UInt8 = 0, tag: UInt8 = 1)
  -> [UInt8]
{
  let templates = Template.of(topic)
  let place = Topics.place(of: topic)
  guard Topics.topic(place) == topic else { fatalError("\(topic) has its place from another") }
  var bytes: [UInt8] = [
    StepKind.request.byte, UInt8(place >> 8), UInt8(truncatingIfNeeded: place), client, UInt8(variant), 0,
  ]
  bytes += meanings(templates[variant].payload, jobspec, tag)
  bytes.append(tag)
  if topic == "log.append" { bytes += [5] + Array("<9>1 ".utf8) }
  return bytes
}

/// What is read for the texts that stand for something.
private func meanings(_ json: JSON, _ jobspec: UInt8, _ tag: UInt8) -> [UInt8] {
  switch json {
  case "$J": [0, jobspec, 0]
  case "$jobspec": [jobspec, 0]
  case "$tag": [tag]
  case "$pid": [1]
  case .array(let array): array.flatMap { meanings($0, jobspec, tag) }
  case .object(let object): object.keys.flatMap { meanings(object[$0] ?? .null, jobspec, tag) }
  default: []
  }
}

private func submit(_ jobspec: UInt8) -> [UInt8] { request("job-ingest.submit", jobspec: jobspec) }

private let time: [UInt8] = [StepKind.time.byte, 3]

/// A job that runs, the request, and some time.
private func seed(_ topic: String, _ variant: Int) -> [UInt8] {
  start + submit(0) + request(topic, variant, tag: 2) + time
}

private let longer: [(String, [UInt8])] = {
  let following =
    request("job-manager.events-journal") + request("job-info.eventlog-watch", 0, tag: 2)
    + request("job-info.eventlog-watch", 1, tag: 3) + request("job-info.eventlog-watch", 2, tag: 4)
    + request("job-info.update-watch", 0, tag: 5)
  let output: [UInt8] = [StepKind.output.byte, 0, 3, 97, 98, 10, StepKind.output.byte, 1, 2, 255, 10]
  let closed: [UInt8] = [StepKind.output.byte, 0, 0, StepKind.output.byte, 0, 0]
  let ended: [UInt8] = [StepKind.processEnd.byte, 0, 1, 0]
  var all: [(String, [UInt8])] = [
    ("life", start + submit(0) + following + output + ended + closed + time),
    ("life-raised", start + submit(0) + following + output + request("job-manager.raise") + closed + time),
    ("life-gone", start + submit(0) + following + [StepKind.disconnect.byte, 0] + output + ended + closed + time),
    ("held", start + submit(3) + submit(3) + request("job-manager.urgency") + time + time),
    ("queues", startWithQueues + submit(8) + request("job-manager.queue-start") + following + time),
    (
      "service",
      start + request("service.add") + request("mine.method", client: 1) + [StepKind.answer.byte, 0, 2, 123, 125]
        + request("mine.stream", client: 1, tag: 2) + [StepKind.answer.byte, 1, 0, StepKind.disconnect.byte, 1]
    ),
    (
      "namespace",
      start + submit(3) + request("kvs.namespace-create") + request("job-info.eventlog-watch", 1)
        + request("kvs.commit")
        + request("kvs.lookup", 3) + request("kvs.namespace-remove")
    ),
    (
      "cancelled-streams",
      start + submit(0) + following + request("job-info.eventlog-watch-cancel", tag: 2)
        + request("job-manager.events-journal-cancel") + request("job-info.update-watch-cancel", tag: 5)
    ),
    ("process", start + request("rexec.exec") + request("rexec.kill") + time),
    ("config", start + submit(0) + request("config.load") + submit(8) + request("job-manager.queue-start") + time),
  ]
  for jobspec in Template.jobspecs.indices {
    let first = submit(0) + submit(UInt8(jobspec))
    all.append(("jobspec-\(jobspec)", start + first + following + ended + closed + time))
  }
  return all
}()
