// SPDX-License-Identifier: LGPL-3.0-only

extension Array where Element: Sendable {
  /// Asks all at once; the answers are in the order of the elements.
  func askedAtOnce<Answer: Sendable>(_ ask: @escaping @Sendable (Element) async -> Answer) async -> [Answer] {
    await withTaskGroup(of: (Int, Answer).self) { group in
      for (number, element) in enumerated() { group.addTask { (number, await ask(element)) } }
      let answers = await group.reduce(into: []) { $0.append($1) }
      return answers.sorted { $0.0 < $1.0 }.map(\.1)
    }
  }
}
