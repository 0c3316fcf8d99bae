// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `state-machine` and `shutdown`: where the instance is in its life, and who wants its end.
final class StateMachineService: Service {
  /// The states that the instance is seen in; the numbers are those of flux-core's `src/broker/state_machine.h`.
  enum State: Int, CaseIterable {
    case run = 5
    case cleanup
    case shutdown
    case finalize
    case goodbye

    var name: String { "\(self)" }
  }

  /// The last state of a Flux: what is meant by a request that names none.
  private static let last = 11

  private unowned let broker: Broker
  private unowned let log: LogService
  private(set) var state = State.run
  private var since: Double
  private var monitors = StreamSet<Int>()
  /// Who has asked for the end, and waits for it.
  private var stopper: (request: Request, level: Int)?
  /// Ends the instance; nil when nobody can.
  var end: (() -> Void)?

  init(_ broker: Broker, _ log: LogService) {
    self.broker = broker
    self.log = log
    since = broker.now()
    log.observer = { [weak self] level, text in self?.forward(level, text) }
  }

  private enum Topic: String, ServiceTopic {
    case get = "state-machine.get"
    case monitor = "state-machine.monitor"
    case start = "shutdown.start"
  }

  var topics: [String] { Topic.all }
  var streamCount: Int { monitors.count + (stopper == nil ? 0 : 1) }

  func handle(_ request: Request) throws(ServiceError) {
    switch try Topic(request) {
    case .get:
      broker.respond(request, ["state": .string(state.name), "duration": .double(broker.now() - since)])
    case .monitor:
      let final = Int(request.payload["final"]?.intValue ?? Int64(Self.last))
      if tell(request, final) { _ = try monitors.add(request, final) }
    case .start: try start(request)
    }
  }

  func disconnect(_ departure: Departure) {
    monitors.drop(departure)
    if let stopper, departure.concerns(stopper.request.sender) { self.stopper = nil }
  }

  /// The client that was told of the end last, because it had asked for it.
  private(set) var farewell: String?

  /// Whether somebody hears of the end.
  var hasMonitors: Bool { !monitors.streams.isEmpty }

  /// The instance is in another state: whoever follows that is told at once.
  func enter(_ next: State) {
    guard next.rawValue > state.rawValue else { return }
    state = next
    since = broker.now()
    for (number, (request, final)) in monitors.streams where !tell(request, final) { monitors.remove(number) }
    guard state == .goodbye, let stopper else { return }
    self.stopper = nil
    farewell = stopper.request.sender.first
    broker.respond(stopper.request, errnum: .noData)
  }

  /// Tells somebody the state. Returns whether there is more to come.
  private func tell(_ request: Request, _ final: Int) -> Bool {
    if state.rawValue <= final { broker.respond(request, ["state": .int(Int64(state.rawValue))]) }
    guard request.isStreaming || state.rawValue > final else { return false }
    guard state.rawValue >= final else { return true }
    broker.respond(request, errnum: .noData)
    return false
  }

  // MARK: The end

  private func start(_ request: Request) throws(ServiceError) {
    guard stopper == nil else { throw ServiceError(.invalid, "shutdown is already in progress") }
    guard state == .run else {
      throw ServiceError(.invalid, "shutdown cannot be initiated in state \(state.name)")
    }
    guard let end else {
      throw ServiceError(.invalid, "this instance is part of a program, and ends with it: end that")
    }
    if request.isStreaming {
      stopper = (request.withoutPayload, Int(request.payload["loglevel"]?.intValue ?? 3))
    } else {
      broker.respond(request)
    }
    log.append(level: 6, "broker", "shutdown: asked for by user \(request.userID)")
    end()
  }

  /// `flux shutdown` shows the log, down to its level.
  private func forward(_ level: Int, _ text: String) {
    guard let stopper, level <= stopper.level else { return }
    broker.respond(stopper.request, ["log": .string(text + "\n")])
  }
}
