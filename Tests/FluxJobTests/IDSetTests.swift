// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct IDSetTests {
  @Test(arguments: [
    ("", "", 0), ("0", "0", 1), ("[0-3]", "0-3", 4), ("[0,2,4-7]", "0,2,4-7", 6), ("0,1,2,5", "0-2,5", 4),
    ("[]", "", 0),
    ("0,", "0", 1), ("1,,2", "1-2", 2), (",1", "1", 1), ("1-3,5-7,9", "1-3,5-7,9", 7), ("2147483647", "2147483647", 1),
    ("0-2147483647", "0-2147483647", 2_147_483_648), ("1-2,3-4", "1-4", 4), ("[7]", "7", 1), (",", "", 0),
  ])
  func parses(text: String, description: String, count: Int) throws {
    let set = try IDSet(parsing: text)
    #expect(set.description == description)
    #expect(set.count == count)
  }

  @Test(arguments: [
    "3,1", "1,1", "0-0", "1-0", "01", "[01]", "0-03", "0 - 3", " 1", "1 ", "1-", "-1", "[1", "1]", "[[1]]", "1-3,2",
    "a",
    "0x1", "4294967294", "4294967295", "4294967296", "2147483648", "99999999999999999999", "1-3-5", "+1", "-", "[", "]",
    "][", "1;2", "1-2,2-3", "1\n", "１", "0-2147483648",
  ])
  func rejects(text: String) {
    #expect { try IDSet(parsing: text) } throws: { ($0 as? FormatError)?.code == .idset }
  }

  @Test func errorsHaveAnOffset() {
    #expect { try IDSet(parsing: "[1,x]") } throws: { ($0 as? FormatError)?.offset == 3 }
    #expect { try IDSet(parsing: "10,20,15") } throws: { ($0 as? FormatError)?.offset == 6 }
  }

  @Test(arguments: [("", ""), ("5", "5"), ("0-3,5", "[0-3,5]"), ("0-1", "[0-1]")])
  func brackets(text: String, bracketed: String) throws {
    #expect(try IDSet(parsing: text).bracketed == bracketed)
    #expect(try IDSet(parsing: bracketed).description == text)
  }

  @Test func inits() {
    #expect(IDSet([3, 1, 2, 2, -1, .max]).description == "1-3")
    #expect(IDSet(2..<5).description == "2-4" && IDSet(0..<0).isEmpty && IDSet(-5..<2).description == "0-1")
    #expect(IDSet(0..<Int.max).count == 2_147_483_648)
    let literal: IDSet = [5, 0]
    #expect(literal.first == 0 && literal.last == 5 && Array(literal) == [0, 5])
    #expect(IDSet().first == nil && IDSet().last == nil && IDSet().isEmpty)
    #expect(IDSet(IDSet(0..<1_000_000_000)).count == 1_000_000_000)
  }

  @Test func insertAndRemoveAtTheEnds() throws {
    var set = IDSet()
    #expect(set.insert(IDSet.maximumID) && !set.insert(IDSet.maximumID) && !set.insert(-1))
    #expect(!set.insert(IDSet.maximumID + 1) && !set.insert(.max) && !set.insert(.min))
    #expect(set.remove(IDSet.maximumID) && !set.remove(IDSet.maximumID) && !set.remove(.max) && set.isEmpty)
    var whole = try IDSet(parsing: "0-2147483647")
    #expect(whole.remove(5) && whole.description == "0-4,6-2147483647" && whole.insert(5) && whole.count == 1 << 31)
    #expect(!whole.contains(-1) && !whole.contains(.max))
  }

  @Test func agreesWithASetOfIntegers() {
    var random = SplitMix64(seed: 6)
    for _ in 0..<2000 {
      let (left, leftModel) = random.idset()
      let (right, rightModel) = random.idset()
      #expect(Array(left) == leftModel.sorted())
      #expect(Array(left.union(right)) == leftModel.union(rightModel).sorted())
      #expect(Array(left.intersection(right)) == leftModel.intersection(rightModel).sorted())
      #expect(Array(left.subtracting(right)) == leftModel.subtracting(rightModel).sorted())
      #expect(left.union(right) == right.union(left))
      #expect(left.subtracting(right).union(left.intersection(right)) == left)
      var copy = left
      copy.formUnion(right)
      copy.subtract(right)
      #expect(copy == left.subtracting(right))
    }
  }

  @Test func insertAndRemoveAgreeWithASetOfIntegers() {
    var random = SplitMix64(seed: 7)
    var set = IDSet()
    var model: Set<Int> = []
    for _ in 0..<5000 {
      let id = random.int(0...60)
      if random.bool() {
        #expect(set.insert(id) == model.insert(id).inserted)
      } else {
        #expect(set.remove(id) == (model.remove(id) != nil))
      }
      #expect(set.contains(id) == model.contains(id))
      #expect(Array(set) == model.sorted() && set.count == model.count)
      #expect(set == IDSet(model))  // the stored form is unique
    }
  }

  @Test func roundTripsRandomSets() throws {
    var random = SplitMix64(seed: 8)
    for _ in 0..<3000 {
      let (set, _) = random.idset()
      #expect(try IDSet(parsing: set.description) == set)
      #expect(try IDSet(parsing: set.bracketed) == set)
    }
  }

  @Test func mutatedTextNeverCrashes() {
    var random = SplitMix64(seed: 9)
    let alphabet = Array("0123456789,,--[] x".utf8)
    for _ in 0..<20000 {
      let text = String(decoding: (0..<random.int(0...14)).map { _ in random.pick(alphabet) }, as: UTF8.self)
      guard let set = try? IDSet(parsing: text) else { continue }
      #expect((try? IDSet(parsing: set.description)) == set)
    }
  }
}

extension SplitMix64 {
  mutating func idset() -> (IDSet, Set<Int>) {
    let top = pick([3, 20, 70, 300])
    let model = Set((0..<int(0...30)).map { _ in int(0...top) })
    return (IDSet(model), model)
  }
}
