// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import NIOCore

@testable import EmbeddedFlux

/// The fuzzer's entry: an input is what clients do to an instance, one thing after another.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let start, count > 0 else { return 0 }
  let shows = getenv("FD_SHOW") != nil
  var play = Play(InputReader(UnsafeBufferPointer(start: start, count: count)), shows: shows)
  play.run()
  return 0
}

/// One input, carried out.
struct Play {
  /// The most things that are done for one input.
  private static let maximumSteps = 64
  private static let clientCount = 3
  /// A user who is not the instance's owner, as a message of the owner's may say.
  private static let guest: UInt32 = 4242

  private var reader: InputReader
  private let world: World
  private var clients: [Int] = []

  init(_ reader: InputReader, shows: Bool) {
    self.reader = reader
    world = World(Self.configuration(self.reader.byte()), shows: shows)
    for _ in 0..<Self.clientCount { clients.append(world.connect()) }
  }

  private static func configuration(_ choice: UInt8) -> EmbeddedInstance.Configuration {
    let queues: JSON = ["queues": ["batch": ["requires": ["big"]], "debug": [:]]]
    let nodes = [4, 1, 64, 3][Int(choice & 3)]
    return EmbeddedInstance.Configuration(
      name: "n", nodes: nodes, coresPerNode: 4, gpusPerNode: choice & 4 == 0 ? 1 : 0, properties: ["big": [0, 1]],
      settings: choice & 8 == 0 ? [:] : queues)
  }

  mutating func run() {
    var steps = 0
    while !reader.isAtEnd, steps < Self.maximumSteps {
      step()
      steps += 1
    }
    world.end()
  }

  private mutating func step() {
    switch StepKind(reader.byte()) {
    case .request: request()
    case .oddRequest: oddRequest()
    case .time: world.pass([0.001, 0.1, 0.5, 1, 3, 10, 61, 3601][reader.choice(8)])
    case .disconnect:
      let index = reader.choice(clients.count)
      if world.shows { print("client \(clients[index]) goes") }
      world.disconnect(clients[index])
      clients[index] = world.connect()
    case .processEnd:
      let index = Int(reader.byte())
      world.surroundings.endProcess(index, status: CInt(reader.word()))
      world.settle()
    case .output:
      let index = Int(reader.byte())
      world.surroundings.write(index, reader.block())
      world.settle()
    case .answer: answer()
    case .other: other()
    }
  }

  // MARK: Requests

  /// A request of a topic that there is, with a payload that is mostly right.
  private mutating func request() {
    let topic = Topics.topic(reader.word())
    let head = reader.byte()
    let variant = reader.byte()
    let templates = Template.of(topic)
    let template = templates[Int(variant & 7) % templates.count]
    let job = world.jobs.isEmpty ? JobID(rawValue: 1) : world.jobs[Int(variant >> 3) % world.jobs.count]
    var payload = reader.mutated(template.payload)
    fill(&payload, job)
    var message = message(head, topic == "$shell" ? "\(JobRun.service(of: job)).stdin" : topic, payload)
    if template.isStreaming { message.options.formSymmetricDifference(.streaming) }
    if topic == LogService.appendTopic { message.payload = ByteBuffer(bytes: reader.block()) }
    world.ask(clients[Int(head & 3) % clients.count], message)
  }

  /// A request with any payload, or with any topic.
  private mutating func oddRequest() {
    let kind = reader.choice(4)
    var topic = Topics.topic(reader.word())
    let head = reader.byte()
    if kind == 1 { topic = String(reader.text().prefix { $0 != "\0" }) }
    if kind == 2 {
      topic = String(topic.prefix { $0 != "." }) + [".ping", ".disconnect", ".cancel", "."][reader.choice(4)]
    }
    var message = message(head, topic, nil)
    switch reader.choice(4) {
    case 0: break
    case 1: message.payload = ByteBuffer(bytes: reader.block())
    case 2: message.payload = ByteBuffer(bytes: reader.block() + [0])
    default:
      var payload = reader.members(depth: 0)
      fill(&payload, world.jobs.last ?? JobID(rawValue: 1))
      message.payload = Message.payload(of: payload)
    }
    if kind == 3, reader.choice(4) == 0 { message.topic = nil }
    world.ask(clients[Int(head & 3) % clients.count], message)
  }

  /// - Parameter head: from the lowest: the client (2 bits), streaming, no response, a guest, one hop more, node and flags (2 bits).
  private mutating func message(_ head: UInt8, _ topic: String, _ payload: JSON?) -> Message {
    var message = Message.request(topic, payload, matchTag: UInt32(reader.byte() & 7))
    if head & 4 != 0 { message.options.insert(.streaming) }
    if head & 8 != 0 { message.options.insert(.noResponse) }
    message.roleMask = Broker.ownerRoles
    if head & 16 != 0 { (message.userID, message.roleMask) = (Self.guest, 2) }
    if head & 32 != 0 { message.routes = ["hop"] }
    switch head >> 6 {
    case 1: message.detail = 0
    case 2: message.detail = 1
    case 3: (message.detail, message.options) = (0, message.options.union(.upstream))
    default: break
    }
    return message
  }

  /// Puts in what stands for something of the moment.
  private mutating func fill(_ json: inout JSON, _ job: JobID) {
    switch json {
    case .string(let text) where text.hasPrefix("$"): json = meaning(of: text, job)
    case .array(var array):
      for index in array.indices { fill(&array[index], job) }
      json = .array(array)
    case .object(var object):
      for key in object.keys {
        var value = object[key] ?? .null
        fill(&value, job)
        object[key] = value
      }
      json = .object(object)
    default: break
    }
  }

  private mutating func meaning(of text: String, _ job: JobID) -> JSON {
    switch text {
    case "$id": return job.json
    case "$f58": return .string(job.encoded(.f58))
    case "$ns": return .string("job-\(job.encoded(.dec))")
    case "$guest": return .string("\(job.encoded(.kvs)).guest")
    case "$tag": return .int(Int64(reader.byte() & 7))
    case "$pid": return .int(1000 + Int64(reader.byte() & 15))
    case "$jobspec": return jobspec(job)
    case "$J":
      let user = reader.byte() == 255 ? Self.guest : world.broker.owner
      return .string(SignedJobspec(userID: user, jobspec: jobspec(job).text).text)
    default: return .string(text)
    }
  }

  private mutating func jobspec(_ job: JobID) -> JSON {
    var jobspec = reader.mutated(reader.pick(Template.jobspecs))
    Self.name(job, in: &jobspec)
    return jobspec
  }

  /// The job that others wait for; nothing else is put into a jobspec.
  private static func name(_ job: JobID, in json: inout JSON) {
    switch json {
    case "$f58": json = .string(job.encoded(.f58))
    case .array(let array):
      json = .array(
        array.map {
          var element = $0
          name(job, in: &element)
          return element
        })
    case .object(var object):
      for key in object.keys {
        var value = object[key] ?? .null
        name(job, in: &value)
        object[key] = value
      }
      json = .object(object)
    default: break
    }
  }

  // MARK: What is no request

  /// A client answers what its service was asked.
  private mutating func answer() {
    let head = reader.byte()
    guard !world.served.isEmpty else { return }
    let (message, client) = world.served[Int(head & 15) % world.served.count]
    let payload = ByteBuffer(bytes: reader.block())
    world.send(client, Message.response(to: message, errnum: head & 128 == 0 ? 0 : UInt32(head), payload: payload))
  }

  /// An event, or a message that no client ever sends.
  private mutating func other() {
    let kind = reader.pick(Message.Kind.allCases)
    guard kind != .request else { return }
    var message = Message(kind: kind, detail: UInt32(reader.byte()), matchTag: 1, routes: ["1-1", "x"], topic: "job.x")
    switch reader.choice(4) {
    case 0: message.routes = nil
    case 1: message.topic = nil
    case 2: message.topic = reader.text()
    default: message.payload = ByteBuffer(bytes: reader.block())
    }
    // A response of nobody's: it may not look like one to a request that there was.
    message.roleMask = kind == .response ? UInt32.max : Broker.ownerRoles
    if kind == .response { message.routes = ["nobody"] }
    world.send(clients[0], message)
  }
}

/// What happens next.
enum StepKind {
  case request, oddRequest, time, disconnect, processEnd, output, answer, other

  init(_ byte: UInt8) {
    switch byte % 32 {
    case 0...18: self = .request
    case 19...21: self = .oddRequest
    case 22, 23: self = .time
    case 24: self = .disconnect
    case 25, 26: self = .processEnd
    case 27, 28: self = .output
    case 29, 30: self = .answer
    default: self = .other
    }
  }

  /// The byte that means it, in seeds.
  var byte: UInt8 {
    switch self {
    case .request: 0
    case .oddRequest: 19
    case .time: 22
    case .disconnect: 24
    case .processEnd: 25
    case .output: 27
    case .answer: 29
    case .other: 31
    }
  }
}
