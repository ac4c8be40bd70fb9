"""Windows of a store beside the forecasts of a run, as plain values: for the TUI and notebooks.

`Session` opens runs and stores and keeps them open; `Browser` shows the windows of one split;
`CorruptedBrowser` shows the windows behind an OOD report.
"""
