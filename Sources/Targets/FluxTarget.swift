// SPDX-License-Identifier: LGPL-3.0-only

public import Delegation
public import FluxConnection
public import FluxJob
import FluxWire

/// A Flux instance as a target, over one connection that all its jobs share.
public struct FluxTarget: ClusterTarget {
  /// The errnos with which ingest itself says no: EPERM, ENODEV, EINVAL, EPROTO, EOVERFLOW. Every other one may come from something on the
  /// way, with the job accepted already.
  private static let rejections: Set<UInt32> = [1, 19, 22, 71, 75]

  /// The errnos with which a job manager refuses to change a job: EPERM, ENOENT, EINVAL, EPROTO. Others may pass.
  private static let refusals: Set<UInt32> = [1, 2, 22, 71]

  /// Its connection.
  public let connection: FluxConnection
  /// What happens to its jobs.
  public let journal: TargetJournal
  private let userID: UInt32
  private let finder: MarkFinder
  /// Lets through those that fetch logs.
  let fetches = Gate(fetchWidth)

  /// A target on an open connection, for jobs of a user of that machine.
  init(_ connection: FluxConnection, userID: UInt32, journal: TargetJournal) {
    self.connection = connection
    self.journal = journal
    self.userID = userID
    finder = MarkFinder(connection, userID: userID)
  }

  /// Makes sure that a live Flux instance is at the other end, before anything is sent to it, and asks who its owner is: user ids
  /// may differ from one machine to the next.
  ///
  /// - Parameter journal: what happens to its jobs; somebody has to run it.
  /// - Throws: ``Delegation/TargetFailure``.
  public static func probe(
    _ connection: FluxConnection, journal: TargetJournal, within limit: Duration
  ) async throws(TargetFailure) -> FluxTarget {
    do {
      let answer = try await connection.rpc("attr.get", ["name": "security.owner"], timeout: limit)
      guard let owner = answer["value"]?.stringValue.flatMap({ UInt32($0) }) else {
        throw ConnectionError(.notFlux, "\(connection.peer): does not say who its owner is")
      }
      return FluxTarget(connection, userID: owner, journal: journal)
    } catch { throw failure(error, connection.peer) }
  }

  /// What an error of a connection means for a job.
  public static func failure(_ error: any Error, _ peer: String) -> TargetFailure {
    switch error {
    case let error as TargetFailure: error
    case let error as ConnectionError: TargetFailure(error.message, isTransient: error.isTransient)
    case let error as RPCError:
      TargetFailure("\(peer): \(error.topic): \(error)", isTransient: error.errnum != Errnum.notImplemented.rawValue)
    case is CancellationError: TargetFailure("\(peer): the agent stops", isTransient: true)
    default: TargetFailure("\(peer): \(error)", isTransient: true)
    }
  }

  /// `job-ingest.submit` with urgency 0.
  public func submit(_ jobspec: Jobspec) async -> SubmissionOutcome {
    let signed = SignedJobspec(userID: userID, jobspec: jobspec.json.text)
    let request: JSON = ["J": .string(signed.text), "urgency": 0, "flags": 0]
    do {
      let answer = try await connection.rpc("job-ingest.submit", request)
      guard let id = JobID(answer["id"]) else {
        return .unanswered(TargetFailure("\(connection.peer): accepted the job and named no id", isTransient: true))
      }
      return .accepted(id)
    } catch let error as RPCError where Self.rejections.contains(error.errnum) {
      return .rejected(error.description)
    } catch {
      return .unanswered(Self.failure(error, connection.peer))
    }
  }

  /// Searches the jobs of this user that are not older than the job itself, less an hour for clocks that differ.
  public func find(_ mark: Mark) async throws(TargetFailure) -> JobID? {
    if let held = await journal.unfollowed(mark) { return held }
    return try await copy(of: mark)?.id
  }

  /// A copy of a job.
  public struct Copy: Hashable, Sendable {
    /// Its id at the target.
    public var id: JobID
    /// Which attempt it is of.
    public var attempt: Int
  }

  /// The same, with the attempt: the latest of several.
  public func copy(of mark: Mark) async throws(TargetFailure) -> Copy? {
    do { return try await finder.copy(of: mark) } catch { throw Self.failure(error, connection.peer) }
  }

  /// `job-manager.urgency`, `update` and `kill`.
  public func control(_ id: JobID, _ control: DelegatedJob.Control) async throws(TargetFailure) -> TargetRefusal? {
    let (topic, request): (String, JSON) =
      switch control {
      case .urgency(let urgency): ("job-manager.urgency", ["id": id.json, "urgency": .int(Int64(urgency))])
      case .update(let updates): ("job-manager.update", ["id": id.json, "updates": .object(updates)])
      case .signal(let number): ("job-manager.kill", ["id": id.json, "signum": .int(Int64(number))])
      }
    do {
      try await connection.rpc(topic, request)
      return nil
    } catch let error as RPCError where Self.refusals.contains(error.errnum) {
      // Of a job that has ended it says the same as of one that it does not know.
      var isForgotten = error.errnum == Errnum.noEntry.rawValue
      if isForgotten { isForgotten = try await !knows(id) }
      return TargetRefusal(words: "\(connection.peer): \(topic) of job \(id): \(error)", isForgotten: isForgotten)
    } catch { throw Self.failure(error, connection.peer) }
  }

  /// Whether it has a job on record, ended or not.
  private func knows(_ id: JobID) async throws(TargetFailure) -> Bool {
    do {
      try await connection.rpc("job-info.lookup", ["id": id.json, "keys": ["eventlog"], "flags": 0])
      return true
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      return false
    } catch { throw Self.failure(error, connection.peer) }
  }

  /// `job-manager.raise` with type `cancel`.
  public func cancel(_ id: JobID, note: String) async throws(TargetFailure) {
    let request: JSON = ["id": id.json, "type": "cancel", "severity": 0, "note": .string(note)]
    do { try await connection.rpc("job-manager.raise", request) } catch let error as RPCError
      where error.errnum == Errnum.noEntry.rawValue
    {
      return
    } catch { throw Self.failure(error, connection.peer) }
  }
}
