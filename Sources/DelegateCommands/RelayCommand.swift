// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import Glibc

/// `relay`: what ssh runs on the far side of a connection: copies between standard input and output and an instance's
/// socket.
struct RelayCommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "relay", abstract: "Relay between standard input and output and a socket; ssh runs this.")

  @Argument(help: "The socket's path.")
  var path: String

  func execute(in context: CommandContext) async throws -> Int32 {
    // On the near side the user knows neither this program nor its verbs: the host's name says more.
    func complain(_ words: String) -> CommandFailure {
      context.errorOutput.print("\(Self.hostName): local://\(path): \(words)")
      return CommandFailure("")
    }
    guard path.utf8.count < 108 else { throw complain("the path of a socket has at most 107 bytes") }
    signal(SIGPIPE, SIG_IGN)
    let socket = Self.connect(path)
    guard socket >= 0 else { throw complain(String(cString: strerror(-socket))) }
    // This process does nothing else, so the loop may have this thread.
    let relay = RelayLoop(input: context.input, output: 1, socket: socket)
    if let error = relay.run() { throw complain(String(cString: strerror(error))) }
    return 0
  }

  private static var hostName: String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "unknown-host" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Connects as libflux does, trying again for half a second.
  ///
  /// - Returns: the socket, or minus errno.
  private static func connect(_ path: String) -> CInt {
    var delay: useconds_t = 16_000
    for _ in 0..<5 {
      let result = connectOnce(path)
      guard result == -ENOENT || result == -ECONNREFUSED else { return result }
      usleep(delay)
      delay *= 2
    }
    return connectOnce(path)
  }

  private static func connectOnce(_ path: String) -> CInt {
    let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return -errno }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result != 0 else { return descriptor }
    let error = errno
    close(descriptor)
    return -error
  }
}
