"""Formulas: text to trees and back, their mentions in questions, rewrites of them. Nothing is evaluated."""
