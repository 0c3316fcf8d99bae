// swift-tools-version: 6.2
// SPDX-License-Identifier: LGPL-3.0-only

import PackageDescription

let package = Package(
  name: "benchmarks",
  dependencies: [
    .package(name: "flux-delegate", path: ".."), .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: [
    .executableTarget(
      name: "DelegateBenchmark",
      dependencies: [
        .product(name: "FluxConnection", package: "flux-delegate"), .product(name: "FluxJob", package: "flux-delegate"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)])
  ]
)
